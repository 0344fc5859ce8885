"""Known pixels around a region that is repainted, as a second input of the decoder.

Codes are coarse: a region that is drawn well still differs a little in brightness and phase from the pixels
around it, and its border shows. Given these pixels, the decoder can fit what it paints to them, as ControlNet
(Zhang et al. 2023) gives a trained network another input: the network itself stays as it is, and the features
of a branch are added to its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Tile, TokenizerConfig
from ..torus import convolution

BLOCKS = 2
"""Residual blocks per level."""


class ContextBlock(nn.Module):
    """x + conv(silu(conv(x))), without biases. (B, D, H, W) → same."""

    def __init__(self, width: int, tile: Tile):
        super().__init__()
        self.conv1 = plain(width, width, tile)
        self.conv2 = plain(width, width, tile)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(x)))


class Context(nn.Module):
    """Known pixels and where they are → features that are added to the decoder's, one per level.

    No layer has a bias or normalises, so that where nothing is known nothing is added: the decoder is the
    old one to the bit. The last layers begin at zero, so training begins with the old decoder as well.

    Args:
        config: Of the tokenizer; ``context`` is the number of channels.
        channels: Of its images.
        tile: Axes along which its images repeat.
    """

    def __init__(self, config: TokenizerConfig, channels: int, tile: Tile = "none"):
        super().__init__()
        stem = 2 if config.downsampling > 1 else 1
        width = config.context
        self.enter = nn.Sequential(nn.PixelUnshuffle(stem), plain((channels + 1) * stem**2, width, tile))
        self.levels, self.down, self.leave = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, multiplier in enumerate(config.multipliers):
            if level > 0:
                halving = convolution(width, width, 4, 2, "zeros", tile)
                halving.bias = None
                self.down.append(halving)
            self.levels.append(nn.Sequential(*(ContextBlock(width, tile) for _ in range(BLOCKS))))
            last = nn.Conv2d(width, config.width * multiplier, 1, bias=False)
            nn.init.zeros_(last.weight)
            self.leave.append(last)

    def forward(self, images: Tensor, known: Tensor) -> list[Tensor]:
        """Features (B, D_l, H_l, W_l) of each level, finest first.

        Args:
            images: (B, C, h, w) in [-1, 1]; pixels that are not known are not read.
            known: (B, h, w) bool.
        """
        where = known[:, None]
        shown = torch.where(where, images, torch.zeros_like(images))
        x = self.enter(torch.cat([shown, where.to(images.dtype)], dim=1))
        found = []
        for level, blocks in enumerate(self.levels):
            x = blocks(self.down[level - 1](x) if level else x)
            found.append(self.leave[level](x))
        return found


def plain(inputs: int, outputs: int, tile: Tile) -> nn.Conv2d:
    """A convolution of size 3 without a bias, with zeros beyond the border: where nothing is known nothing is
    added there either."""
    layer = convolution(inputs, outputs, 3, 1, "zeros", tile)
    layer.bias = None
    return layer
