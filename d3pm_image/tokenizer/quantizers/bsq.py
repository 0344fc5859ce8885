"""The signs of a point on a sphere (Zhao et al. 2024, BSQ). The sphere has radius √D, so that the decoder
sees ±1 as LFQ's does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .base import register
from .lfq import LFQ

if TYPE_CHECKING:
    from torch import Tensor


@register("bsq")
@dataclass(frozen=True, kw_only=True)
class BSQ(LFQ):
    """The signs of a point on a sphere, one bit each (Zhao et al. 2024). As lfq, more stable."""

    def quantize(
        self, vq: Any, flat: Tensor, training: bool, synchronize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        from torch.nn import functional as F

        return super().quantize(vq, F.normalize(flat, dim=-1) * flat.shape[-1] ** 0.5, training, synchronize)
