"""A codebook of moving averages (van den Oord et al. 2017, appendix A.1), with a k-means start and unused codes replaced."""

from __future__ import annotations

import contextlib
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
    """The nearest vector of a codebook of moving averages, with a k-means start and unused codes replaced (van den Oord et al. 2017). The default.

    Args:
        decay: Moving-average rate of the codebook.
        revive_below: A code whose moving count of uses falls under this fraction of the average is replaced by a feature vector; 0 is never.
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through (Fifty et al. 2024).
    """

    decay: float = setting(0.99, 0, below=1, learning=True)
    revive_below: float = setting(0.1, 0, below=1, learning=True)
    rotation_trick: bool = setting(False, learning=True)
    kmeans_start: ClassVar[bool] = True
    unit: ClassVar[bool] = False
    """Codes and features are unit vectors."""

    def build(self, synchronize: bool) -> nn.Module:
        from vector_quantize_pytorch import VectorQuantize  # imports for seconds, so only where it is used

        # its only log line, of few vectors for many codes, is a line of its source code; callers say that in words
        with contextlib.suppress(ImportError):
            from loguru import logger

            logger.disable("vector_quantize_pytorch")
        return VectorQuantize(
            dim=self.code_dim,
            codebook_size=self.num_codes,
            decay=self.decay,
            commitment_weight=self.commitment,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=0,  # ema_codebook.py moves and revives
            rotation_trick=self.rotation_trick,
            use_cosine_sim=self.unit,
            sync_codebook=synchronize,
        )

    def quantize(self, vq: Any, flat: Tensor, training: bool, synchronize: bool) -> tuple[Tensor, Tensor, Tensor]:
        quantized, codes, loss = vq(flat, freeze_codebook=True)  # ema_codebook.py moves it at the end of the step
        return quantized, codes, loss.sum()

    def moves(self, vq: Any, vectors_a_step: int, synchronize: bool) -> Moves:
        from ..ema_codebook import Moves

        return Moves(vq._codebook, self.decay, self.revive_below * vectors_a_step / self.num_codes, self.unit, synchronize)

    def collapse_hint(self) -> str:
        if self.revive_below >= 0.05:
            return super().collapse_hint()
        return f"raise tokenizer.quantizer.revive_below to 0.1 (now {self.revive_below:g}), so that unused codes are replaced"
