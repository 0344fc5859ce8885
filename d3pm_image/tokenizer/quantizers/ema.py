"""A codebook of moving averages (van den Oord et al. 2017, appendix A.1), with a k-means start and unused
codes replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...registry import setting
from .base import Codebook, register

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..ema_codebook import Moves


@register("ema")
@dataclass(frozen=True, kw_only=True)
class EMA(Codebook):
    """The nearest vector of a codebook of moving averages, with a k-means start and unused codes replaced
    (van den Oord et al. 2017). The default.

    Args:
        decay: Moving-average rate of the codebook.
        revive_below: A code whose moving count of uses falls under this fraction of the average is replaced
            by a feature vector; 0 is never.
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through (Fifty
            et al. 2024).
    """

    decay: float = setting(0.99, 0, below=1, learning=True)
    revive_below: float = setting(0.1, 0, below=1, learning=True)
    rotation_trick: bool = setting(False, learning=True)
    kmeans_start: ClassVar[bool] = True
    unit: ClassVar[bool] = False
    """Codes and features are unit vectors."""

    def build(self, synchronize: bool) -> nn.Module:
        from ..codebook import AveragesCodebook

        return AveragesCodebook(
            self.num_codes, self.code_dim, self.unit, self.commitment, self.rotation_trick, synchronize
        )

    def quantize(
        self, vq: Any, flat: Tensor, training: bool, synchronize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        return vq(flat)  # ema_codebook.py moves the codebook at the end of the step

    def moves(self, vq: Any, vectors_a_step: int, synchronize: bool) -> Moves:
        from ..ema_codebook import Moves

        return Moves(
            vq._codebook,
            self.decay,
            self.revive_below * vectors_a_step / self.num_codes,
            self.unit,
            synchronize,
        )

    def collapse_hint(self) -> str:
        if self.revive_below >= 0.05:
            return super().collapse_hint()
        return (
            f"raise tokenizer.quantizer.revive_below to 0.1 (now {self.revive_below:g}), so that unused codes"
            " are replaced"
        )
