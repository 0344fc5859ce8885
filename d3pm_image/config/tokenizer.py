"""The tokenizer, pixels in its place, and its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .data import size_pair
from .errors import finite, need

MAX_CODES = 65535  # codes are cached as 16-bit numbers


def pixel_levels(tokenizer: str) -> int:
    """L of ``pixels:L``, the tokenizer that learns nothing; 0 where the text names a folder.

    Raises:
        ConfigError: ``pixels:`` without a whole number.
    """
    kind, colon, levels = tokenizer.partition(":")
    if kind != "pixels" or not colon:
        return 0
    need(levels.isdecimal() and int(levels) >= 2, "tokenizer", tokenizer, "give 2 intensities a colour channel or more, such as pixels:8")
    return int(levels)


def pixel_codes(levels: int, channels: int) -> int:
    """Codes of a pixel, levels**channels.

    Raises:
        ConfigError: less than 2 levels, or more codes than are cached.
    """
    need(channels in (1, 3), "data.channels", channels, "pixels as codes need 1 for grey or 3 for colour")
    most = int(MAX_CODES ** (1 / channels))
    need(
        levels >= 2 and levels**channels <= MAX_CODES,
        "tokenizer",
        f"pixels:{levels}",
        f"must be pixels:2 to pixels:{most} for {channels} colour channel{'s' if channels > 1 else ''} (codes are cached as 16-bit numbers)",
    )
    return levels**channels


@dataclass(frozen=True)
class TokenizerConfig:
    """The VQ-VAE: images to a grid of codes and back.

    Args:
        downsampling: Pixels a code cell side: 1, 2, 4, 8 or 16; image sides must be divisible by it.
        width: Channels of the first level.
        multipliers: Channel factor of each level, finest first: one entry for each halving (one entry when downsampling is 1).
        blocks: Residual blocks a level, in the encoder; the decoder has one more.
        num_codes: Codebook size K.
        code_dim: Width of a code vector.
        decay: Moving-average rate of the codebook.
        commitment: Weight of the loss that keeps features near their codes.
        revive_below: A code whose moving count of uses falls under this share of the average is replaced by a feature vector.
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through.
    """

    downsampling: Literal[1, 2, 4, 8, 16] = 4
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    num_codes: int = 512
    code_dim: int = 32
    decay: float = 0.99
    commitment: float = 0.25
    revive_below: float = 0.1
    rotation_trick: bool = False

    def __post_init__(self):
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        levels = max(1, self.downsampling.bit_length() - 1)
        need(self.downsampling in (1, 2, 4, 8, 16), "tokenizer.downsampling", self.downsampling, "use 1, 2, 4, 8 or 16")
        need(
            len(self.multipliers) == levels,
            "tokenizer.multipliers",
            list(self.multipliers),
            f"give {levels} entries for downsampling {self.downsampling}, one a halving",
        )
        need(all(m >= 1 for m in self.multipliers), "tokenizer.multipliers", list(self.multipliers), "every factor must be at least 1")
        need(
            self.width >= 8 and self.width % 8 == 0,
            "tokenizer.width",
            self.width,
            "use a multiple of 8 (channels are normalised in groups of 8)",
        )
        need(1 <= self.blocks <= 64, "tokenizer.blocks", self.blocks, "use 1 to 64 residual blocks a level")
        need(
            2 <= self.num_codes <= 65535, "tokenizer.num_codes", self.num_codes, "use 2 to 65535 codes (they are cached as 16-bit numbers)"
        )
        need(self.code_dim >= 1, "tokenizer.code_dim", self.code_dim, "use at least 1")
        need(0 <= self.decay < 1, "tokenizer.decay", self.decay, "give a rate in [0, 1), such as 0.99")
        need(finite(self.commitment) and self.commitment >= 0, "tokenizer.commitment", self.commitment, "give 0 or more, such as 0.25")
        need(0 <= self.revive_below < 1, "tokenizer.revive_below", self.revive_below, "give a share in [0, 1), such as 0.1")

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image, with a clear error where the sides do not divide."""
        height, width = size_pair(image_size)
        f = self.downsampling
        near = tuple(max(f, round(s / f) * f) for s in (height, width))
        need(
            height % f == 0 and width % f == 0,
            "data.image_size",
            image_size,
            f"not divisible by tokenizer.downsampling={f}; use {near[0] if near[0] == near[1] else list(near)}",
        )
        return height // f, width // f


@dataclass(frozen=True)
class TokenizerLossConfig:
    """Reconstruction loss on pixels in [0, 1], scaled so that typical values are near 1.

    Args:
        l2: Weight of the squared error.
        l1: Weight of the absolute error.
    """

    l2: float = 1.0
    l1: float = 0.0

    def __post_init__(self):
        need(
            finite(self.l2 + self.l1) and self.l2 >= 0 and self.l1 >= 0, "loss", (self.l2, self.l1), "weights must be finite and 0 or more"
        )
        need(self.l2 + self.l1 > 0, "loss", (self.l2, self.l1), "give at least one of loss.l2 and loss.l1 a positive weight")
