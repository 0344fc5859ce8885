"""The base of all quantizers: a frozen dataclass that holds its settings, with their defaults and ranges, and
turns features into codes and back.

    @register("fsq")
    @dataclass(frozen=True, kw_only=True)
    class FSQ(Quantizer):
        '''Each coordinate rounded to one of a few values.

        Args:
            levels: Values of each coordinate.
        '''

        levels: tuple[int, ...] = (8, 8, 8)

        def build(self, synchronize): ...
        def quantize(self, vq, flat, training, synchronize): ...

Registration is all that it takes. Weights and the codebook live in the module that ``build`` makes, as
``quantizer.vq`` of the network; whatever is done with it runs in float32, channel-last (B, N, D). Residual
quantizers, which give several codes per cell, do not fit a grid of single codes. Nothing here imports torch
before a network is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...registry import Choice, Registry, setting

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..ema_codebook import Moves

MAX_CODES = 65535  # codes are cached as 16-bit numbers
QUANTIZERS: Registry[Quantizer] = Registry("quantizer", "tokenizer.quantizer")
"""Every quantizer by the name that users choose it by."""
register = QUANTIZERS.register


@dataclass(frozen=True, kw_only=True)
class Quantizer(Choice):
    """Features to codes: the codebook's size and width, the module that holds it, a pass, and what a code
    stands for.

    ``num_codes`` (K) and ``vector_dim`` (D, the width of a code vector, which the encoder gives) are settings
    or follow from them.
    """

    path: ClassVar[str] = "tokenizer.quantizer."
    kmeans_start: ClassVar[bool] = False
    """Whether the codebook must be fitted to features before training."""

    @property
    def num_codes(self) -> int:
        """K."""
        raise NotImplementedError

    @property
    def vector_dim(self) -> int:
        """D."""
        raise NotImplementedError

    def build(self, synchronize: bool) -> nn.Module:
        """The module that holds weights and codebook. ``synchronize``: take statistics over all processes;
        their group exists by then."""
        raise NotImplementedError

    def quantize(
        self, vq: Any, flat: Tensor, training: bool, synchronize: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, D) → quantized (B, N, D) with gradients to the input, codes (B, N), and the quantizer's own
        loss, a scalar."""
        raise NotImplementedError

    def vectors(self, vq: Any, codes: Tensor) -> Tensor:
        """Vectors of codes: (…, D) for codes of shape (…)."""
        return vq.codebook[codes]

    def moves(self, vq: Any, vectors_a_step: int, synchronize: bool) -> Moves | None:
        """What moves the codebook in training where no gradient does; ``vectors_a_step``: B·N of a step over
        all processes."""
        return None

    def collapse_hint(self) -> str:
        """Hint if few codes are used."""
        return (
            "lower train.learning_rate, use fewer tokenizer.quantizer.num_codes, or"
            " tokenizer.quantizer.name fsq"
        )


@dataclass(frozen=True, kw_only=True)
class Codebook(Quantizer):
    """The nearest of K vectors.

    Args:
        num_codes: Codebook size K.
        code_dim: Width of a code vector.
        commitment: Weight of the loss that keeps features near their codes.
    """

    num_codes: int = setting(512, 2, MAX_CODES)
    code_dim: int = setting(32, 1)
    commitment: float = setting(0.25, 0, learning=True)

    @property
    def vector_dim(self) -> int:
        return self.code_dim

    def collapse_hint(self) -> str:
        if self.code_dim <= 8:
            return super().collapse_hint()
        smaller = f"use a smaller tokenizer.quantizer.code_dim, such as 8 (now {self.code_dim})"
        return f"{smaller}, a lower train.learning_rate, or tokenizer.quantizer.name fsq"
