"""Each coordinate bounded and rounded to one of a few values (Mentzer et al. 2024, FSQ); nothing is
learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import check
from .base import MAX_CODES, Quantizer, register

if TYPE_CHECKING:
    from torch import Tensor, nn


@register("fsq")
@dataclass(frozen=True, kw_only=True)
class FSQ(Quantizer):
    """Each coordinate rounded to one of a few values (Mentzer et al. 2024). Where a codebook collapses, for
    large codebooks, or for speed.

    Args:
        levels: Values of each coordinate, 3 or more; their product is the number of codes: [8,5,5,5] makes
            1000.
    """

    levels: tuple[int, ...] = (8, 8, 8)

    def __post_init__(self) -> None:
        super().__post_init__()
        where, right = "tokenizer.quantizer.levels", isinstance(self.levels, Sequence) and bool(self.levels)
        right = right and all(isinstance(level, int) and level >= 3 for level in self.levels)
        check(right, where, self.levels, "give 3 values per coordinate or more, such as [8,5,5,5]")
        object.__setattr__(self, "levels", tuple(self.levels))
        hint = f"make {self.num_codes} codes; at most {MAX_CODES} can be cached"
        check(self.num_codes <= MAX_CODES, where, list(self.levels), hint)

    @property
    def num_codes(self) -> int:
        """The product of the levels."""
        return math.prod(self.levels)

    @property
    def vector_dim(self) -> int:
        return len(self.levels)

    def build(self, synchronize: bool) -> nn.Module:
        import torch
        from vector_quantize_pytorch import FSQ as Module

        # it asks for a product when it is built, which networks laid out on the meta device cannot answer
        with torch.device("cpu"):
            return Module(self.levels)

    def quantize(
        self, vq: Any, flat: Tensor, training: bool, synchronize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        quantized, codes = vq(flat)
        return quantized, codes, flat.new_zeros(())

    def vectors(self, vq: Any, codes: Tensor) -> Tensor:
        return vq.implicit_codebook[codes]

    def collapse_hint(self) -> str:
        return "lower train.learning_rate, or use fewer or smaller tokenizer.quantizer.levels"
