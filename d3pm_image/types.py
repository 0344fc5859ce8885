"""Names and shapes that the packages share.

Axes: B batch, N tokens, H W code grid (N = H·W, row by row), h w pixels, C channels, K codes, D width.
Time: t = 0 is clean, t = 1 is noise, s < t always. x_0 clean codes, x_s and x_t codes at times s and t.

Codes are int64. In a noisy grid 0..K-1 are codes and K is the mask token; only
:mod:`d3pm_image.diffusion.process` makes mask tokens, and :mod:`d3pm_image.sampling` asks it which tokens are
masked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

Grid = tuple[int, int]
"""Rows and columns of codes, (H, W)."""


@runtime_checkable
class Denoiser(Protocol):
    """Predicts clean codes. ``logits = denoiser(x_t, kappa, labels, grid, where)``

    x_t (B, N) int64 in 0..K; kappa (B,) float, the share of unmasked tokens not yet resampled, κ_t; labels
    (B,) int64, with ``num_classes`` meaning no label; grid (H, W) with H·W = N; where (B, N) bool, the
    requested positions, None for all. Returns leave-one-out logits (B, N, K); values at other positions are
    never read. :func:`d3pm_image.testing.check_denoiser` checks a network.

    A denoiser whose attribute ``token_levels`` is true may be given kappa (B, N), a level per token: 1 where
    a token is known, and κ_t at all others. Any other denoiser is given one level per image, see
    ``d3pm_image.sampling.levels.told_levels``.
    """

    def __call__(
        self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid, where: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class TrainableDenoiser(Denoiser, Protocol):
    """A denoiser that is trained, an nn.Module: a loss may apply its last layer itself, a chunk of rows at a
    time, so that all logits are never in memory together.

    head=False asks for the features (B, N, D) before the last layer, of which ``self.head`` makes the logits.
    keys (B,) int64, a number per row, are all that the masks of its dropout derive from. num_codes is K,
    label num_classes means no label. :func:`d3pm_image.testing.check_trainable` checks a network.
    """

    num_codes: int
    num_classes: int
    head: nn.Linear
    """Features (…, D) → logits (…, K), with a bias."""

    def __call__(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: Grid,
        where: Tensor | None = None,
        head: bool = True,
        keys: Tensor | None = None,
    ) -> Tensor: ...


@runtime_checkable
class Tokenizer(Protocol):
    """Images to codes and back. images (B, C, h, w) float in [0, 1]; codes (B, H, W) int64 in 0..K-1; vectors
    (B, D, H, W) float, near each other for codes of similar patches.
    :func:`d3pm_image.testing.check_tokenizer` checks a tokenizer.

    Like an nn.Module it has eval, to and state_dict.
    """

    channels: int

    @property
    def num_codes(self) -> int:
        """K."""

    @property
    def downsampling(self) -> int:
        """Pixels per side of a code cell."""

    def grid(self, image_size: int | tuple[int, int]) -> Grid:
        """Code grid (H, W) of an image with a number of pixels per side, or (height, width)."""

    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, H, W) of images (B, C, h, w)."""

    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) of codes (B, H, W)."""

    def vectors(self, codes: Tensor) -> Tensor:
        """Vectors of codes (B, H, W), (B, D, H, W)."""

    def eval(self) -> Self:
        """Leave training mode; returns self."""

    def to(self, device: Any) -> Self:
        """Move to a device; returns self."""

    def state_dict(self) -> dict[str, Any]:
        """All weights by name."""
