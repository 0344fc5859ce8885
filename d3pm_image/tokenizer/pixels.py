"""Pixels as codes: every pixel is one code, its quantised intensities; nothing is learned (Austin et al.
2021, section 6).

D3PM then works on pixels themselves, without a stage one: images → pixels → diffusion. A grey pixel x in [0,
1] becomes the nearest of L levels, round(x · (L - 1)); a colour pixel packs its three into one code, r·L² +
g·L + b. 256 grey levels keep 8-bit images exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..config import check, pixel_codes, size_pair
from .quantizer import need_codes

if TYPE_CHECKING:
    from .folder import TokenizerInfo


class PixelCodes(nn.Module):
    """A tokenizer whose codes are single pixels, (B, h, w) int64 in 0..K-1; nothing of it is trained."""

    folder: Path | None = None
    """Where it was loaded from."""
    info: TokenizerInfo | None = None
    """Metadata of its folder."""
    downsampling = 1
    num_codes: int
    channels: int

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image: its own size in pixels."""
        return size_pair(image_size)

    def checked(self, images: Tensor) -> Tensor:
        """Images (B, C, h, w) as float32 in [0, 1]. Raises ValueError for another number of channels."""
        hint = f"give (B, {self.channels}, h, w)"
        check(images.ndim == 4 and images.shape[1] == self.channels, "images", tuple(images.shape), hint)
        return images.float().clamp(0, 1)

    def vectors(self, codes: Tensor) -> Tensor:
        """What codes (B, h, w) stand for: their pixels, (B, C, h, w) float32 in [0, 1]."""
        return self.decode(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) float32 in [0, 1] of codes (B, h, w).

        Raises:
            ValueError: a code outside 0..K-1.
        """
        need_codes(codes, self.num_codes)
        return self.images(codes)

    def images(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) of codes (B, h, w), as ``decode`` gives them, unchecked (for export)."""
        raise NotImplementedError


class Pixels(PixelCodes):
    """Images (B, C, h, w), float in [0, 1], to codes (B, h, w), int64 in 0..levels**C - 1, and back.

    Args:
        levels: Intensities per colour channel, L.
        channels: 1 or 3.

    Raises:
        ConfigError: fewer than 2 levels, or more codes than are cached (65535).
    """

    intensities: Tensor

    def __init__(self, levels: int, channels: int):
        super().__init__()
        self.num_codes = pixel_codes(levels, channels)
        self.levels, self.channels = levels, channels
        self.register_buffer("intensities", torch.arange(levels, dtype=torch.float32) / (levels - 1))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, h, w) of images (B, C, h, w) in [0, 1].

        Raises:
            ValueError: wrong number of channels.
        """
        digits = (self.checked(images) * (self.levels - 1)).round().long()
        codes = digits[:, 0]
        for channel in range(1, self.channels):
            codes = codes * self.levels + digits[:, channel]
        return codes

    def images(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) of codes (B, h, w), as ``decode`` gives them, unchecked (for export)."""
        places = [self.levels**power for power in reversed(range(self.channels))]
        return self.intensities[torch.stack([codes // place % self.levels for place in places], 1)]
