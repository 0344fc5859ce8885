"""A codebook of unit vectors, compared by their angle (Yu et al. 2022, ViT-VQGAN, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import register
from .ema import EMA


@register("cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(EMA):
    """The nearest direction: moving averages on the unit sphere (Yu et al. 2022, ViT-VQGAN). For codebooks of 1024 codes and more, with a
    ``code_dim`` of 8 to 16."""

    unit: ClassVar[bool] = True
