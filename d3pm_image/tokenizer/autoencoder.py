"""The VQ-VAE (van den Oord et al. 2017): image → residual encoder → quantizer → residual decoder → image.

The first halving is a pixel-unshuffle (and its inverse at the end): it matches a full-resolution level at a
fraction of the cost. Levels are GroupNorm + SiLU residual blocks without attention, so the receptive field is
bounded and any image whose sides divide by the downsampling can be encoded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import TokenizerConfig, need
from .quantizer import Quantizer, need_codes


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))))), the last convolution starting at zero. (B, C, H, W) → same."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


def encoder(config: TokenizerConfig, channels: int) -> nn.Sequential:
    """(B, C, h, w) in [-1, 1] → (B, code_dim, h/f, w/f)."""
    stem = 2 if config.downsampling > 1 else 1
    widths = [config.width * m for m in config.multipliers]
    layers: list[nn.Module] = [nn.PixelUnshuffle(stem), nn.Conv2d(channels * stem**2, widths[0], 3, padding=1)]
    for level, width in enumerate(widths):
        if level > 0:
            layers.append(nn.Conv2d(widths[level - 1], width, 4, stride=2, padding=1))
        layers += [ResidualBlock(width) for _ in range(config.blocks)]
    layers += [nn.GroupNorm(8, widths[-1]), nn.SiLU(), nn.Conv2d(widths[-1], config.code_dim, 1)]
    return nn.Sequential(*layers)


def decoder(config: TokenizerConfig, channels: int) -> nn.Sequential:
    """(B, code_dim, h/f, w/f) → (B, C, h, w) in about [-1, 1]."""
    stem = 2 if config.downsampling > 1 else 1
    widths = [config.width * m for m in config.multipliers]
    layers: list[nn.Module] = [nn.Conv2d(config.code_dim, widths[-1], 3, padding=1)]
    for level in reversed(range(len(widths))):
        layers += [ResidualBlock(widths[level]) for _ in range(config.blocks + 1)]
        if level > 0:
            layers += [nn.Conv2d(widths[level], widths[level - 1] * 4, 3, padding=1), nn.PixelShuffle(2)]
    layers += [nn.GroupNorm(8, widths[0]), nn.SiLU()]
    layers += [nn.Conv2d(widths[0], channels * stem**2, 3, padding=1), nn.PixelShuffle(stem)]
    return nn.Sequential(*layers)


class Autoencoder(nn.Module):
    """Images (B, C, h, w), float in [0, 1], to codes (B, H, W), int64 in 0..K-1, and back.

    Args:
        config: Network and codebook.
        channels: 1 or 3.
        vectors_a_step, synchronize: See :class:`Quantizer`.
    """

    def __init__(self, config: TokenizerConfig, channels: int, vectors_a_step: int = 0, synchronize: bool = False):
        super().__init__()
        self.config, self.channels = config, channels
        self.encoder = encoder(config, channels)
        self.quantizer = Quantizer(config, vectors_a_step, synchronize)
        self.decoder = decoder(config, channels)

    @property
    def num_codes(self) -> int:
        return self.config.num_codes

    @property
    def downsampling(self) -> int:
        return self.config.downsampling

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image. Raises ConfigError where the sides do not divide by the downsampling."""
        return self.config.grid(image_size)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Training pass: reconstruction (B, C, h, w), not clamped; codes (B, H, W); commitment loss (scalar)."""
        quantized, codes, commitment = self.quantizer(self.encoder(images * 2 - 1))
        return self.decoder(quantized) * 0.5 + 0.5, codes, commitment

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, H, W) of images (B, C, h, w) in [0, 1], in float32 and without touching the codebook.

        Raises:
            ValueError: wrong number of channels, or sides that the downsampling does not divide.
        """
        need(images.ndim == 4 and images.shape[1] == self.channels, "images", tuple(images.shape), f"give (B, {self.channels}, h, w)")
        self.grid((images.shape[2], images.shape[3]))
        assert not self.training, "encode() in training mode would move the codebook; call eval() first"
        with torch.autocast(images.device.type, enabled=False):
            return self.quantizer(self.encoder(images.float() * 2 - 1))[1]

    def vectors(self, codes: Tensor) -> Tensor:
        """What codes (B, H, W) stand for in the codebook, (B, D, H, W) float32."""
        return self.quantizer.lookup(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) float32 in [0, 1] of codes (B, H, W).

        Raises:
            ValueError: a code outside 0..K-1.
        """
        need_codes(codes, self.num_codes)
        with torch.autocast(codes.device.type, enabled=False):
            return (self.decoder(self.quantizer.lookup(codes)) * 0.5 + 0.5).clamp(0, 1)
