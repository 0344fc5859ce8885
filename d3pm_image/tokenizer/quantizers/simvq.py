"""A fixed random codebook under a learned linear map, which moves all codes at once (Zhu et al. 2024,
SimVQ)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...registry import setting
from .base import Codebook, register

if TYPE_CHECKING:
    from torch import Tensor, nn


@register("simvq")
@dataclass(frozen=True, kw_only=True)
class SimVQ(Codebook):
    """The nearest vector of a fixed random codebook under a learned linear map (Zhu et al. 2024). For codes
    that stay unused although unused ones are replaced.

    Args:
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through (Fifty
            et al. 2024).
    """

    rotation_trick: bool = setting(False, learning=True)

    def build(self, synchronize: bool) -> nn.Module:
        from vector_quantize_pytorch import SimVQ as Module

        return Module(
            self.code_dim,
            self.num_codes,
            rotation_trick=self.rotation_trick,
            input_to_quantize_commit_loss_weight=self.commitment,
        )

    def quantize(
        self, vq: Any, flat: Tensor, training: bool, synchronize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return vq(flat)

    def collapse_hint(self) -> str:
        if self.rotation_trick:
            return super().collapse_hint()
        return "set tokenizer.quantizer.rotation_trick true, or use a smaller tokenizer.quantizer.code_dim"
