"""The tokenizer, and pixels in its place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from ..errors import finite, need
from .data import size_pair

MAX_CODES = 65535  # codes are cached as 16-bit numbers


def pixel_levels(tokenizer: str) -> int:
    """L of ``pixels:L``, the tokenizer that learns nothing; 0 where the text names a folder.

    Raises:
        ConfigError: ``pixels:`` without a whole number.
    """
    kind, colon, levels = tokenizer.partition(":")
    if kind != "pixels" or not colon:
        return 0
    need(levels.isdecimal() and int(levels) >= 2, "tokenizer", tokenizer, "give 2 intensities per colour channel or more, such as pixels:8")
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


# the settings of the codebook that each quantizer reads; any other must be left at its default
QUANTIZERS: dict[str, tuple[str, ...]] = {
    "ema": ("code_dim", "decay", "commitment", "revive_below", "rotation_trick"),
    "cosine": ("code_dim", "decay", "commitment", "revive_below", "rotation_trick"),
    "simvq": ("code_dim", "commitment", "rotation_trick"),
    "fsq": ("levels",),
    "lfq": ("commitment", "entropy"),
    "bsq": ("commitment", "entropy"),
}


@dataclass(frozen=True)
class TokenizerConfig:
    """The VQ-VAE: images to a grid of codes and back.

    Args:
        downsampling: Pixels a code cell side: 1, 2, 4, 8 or 16; image sides must be divisible by it.
        width: Channels of the first level.
        multipliers: Channel factor of each level, finest first: one entry for each halving (one entry when downsampling is 1).
        blocks: Residual blocks a level, in the encoder; the decoder has one more.
        norm: group normalises over the whole picture, so that every code depends a little on every pixel; channel normalises each position by itself.
        padding: What convolutions see beyond the border: zeros, replicate or reflect.
        quantizer: How features become codes: ema (a codebook of moving averages), cosine (the same on the unit sphere; take a small code_dim), simvq (a learned map of a fixed codebook), fsq (rounded coordinates), lfq or bsq (one bit a coordinate).
        num_codes: Codebook size K; the product of levels for fsq, a power of 2 for lfq and bsq.
        code_dim: Width of a code vector (ema, cosine, simvq).
        levels: Values of each coordinate (fsq), such as [8,5,5,5] for 1000 codes.
        decay: Moving-average rate of the codebook (ema, cosine).
        commitment: Weight of the loss that keeps features near their codes (all but fsq).
        entropy: Weight of the loss that makes each bit sure and all codes used (lfq, bsq).
        revive_below: A code whose moving count of uses falls under this share of the average is replaced by a feature vector (ema, cosine).
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through (ema, cosine, simvq).
    """

    downsampling: Literal[1, 2, 4, 8, 16] = 4
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    norm: Literal["group", "channel"] = "group"
    padding: Literal["zeros", "replicate", "reflect"] = "zeros"
    quantizer: Literal[tuple(QUANTIZERS)] = "ema"  # type: ignore[valid-type]
    num_codes: int = 512
    code_dim: int = 32
    levels: tuple[int, ...] = (8, 8, 8)
    decay: float = 0.99
    commitment: float = 0.25
    entropy: float = 0.05
    revive_below: float = 0.1
    rotation_trick: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        object.__setattr__(self, "levels", tuple(self.levels))
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
        need(self.norm in ("group", "channel"), "tokenizer.norm", self.norm, "use group or channel")
        need(self.padding in ("zeros", "replicate", "reflect"), "tokenizer.padding", self.padding, "use zeros, replicate or reflect")
        need(
            2 <= self.num_codes <= 65535, "tokenizer.num_codes", self.num_codes, "use 2 to 65535 codes (they are cached as 16-bit numbers)"
        )
        need(self.code_dim >= 1, "tokenizer.code_dim", self.code_dim, "use at least 1")
        need(0 <= self.decay < 1, "tokenizer.decay", self.decay, "give a rate in [0, 1), such as 0.99")
        need(finite(self.commitment) and self.commitment >= 0, "tokenizer.commitment", self.commitment, "give 0 or more, such as 0.25")
        need(0 <= self.revive_below < 1, "tokenizer.revive_below", self.revive_below, "give a share in [0, 1), such as 0.1")
        need(finite(self.entropy) and self.entropy >= 0, "tokenizer.entropy", self.entropy, "give 0 or more, such as 0.05")
        self._check_quantizer()

    def _check_quantizer(self) -> None:
        """Raises ConfigError for a codebook that the quantizer cannot have, and for settings that it would ignore."""
        need(self.quantizer in QUANTIZERS, "tokenizer.quantizer", self.quantizer, f"use {', '.join(QUANTIZERS)}")
        defaults = {f.name: f.default for f in fields(self)}
        for name in sorted({n for names in QUANTIZERS.values() for n in names} - set(QUANTIZERS[self.quantizer])):
            need(
                getattr(self, name) == defaults[name],
                f"tokenizer.{name}",
                getattr(self, name),
                f"is not read by the quantizer {self.quantizer} (it reads {', '.join(QUANTIZERS[self.quantizer])}); leave it at {defaults[name]}",
            )
        if self.quantizer == "fsq":
            need(bool(self.levels) and min(self.levels) >= 3, "tokenizer.levels", list(self.levels), "give 3 values a coordinate or more")
            codes = math.prod(self.levels)
            need(
                codes == self.num_codes,
                "tokenizer.num_codes",
                self.num_codes,
                f"levels {list(self.levels)} make {codes} codes: give {codes}",
            )
        if self.quantizer in ("lfq", "bsq"):
            near = 2 ** round(math.log2(self.num_codes))
            need(
                self.num_codes & (self.num_codes - 1) == 0,
                "tokenizer.num_codes",
                self.num_codes,
                f"{self.quantizer} has one bit a coordinate: use a power of 2, such as {min(near, 32768)}",
            )

    @property
    def vector_dim(self) -> int:
        """Width of a code vector: code_dim, the number of levels, or the number of bits."""
        if self.quantizer == "fsq":
            return len(self.levels)
        return self.num_codes.bit_length() - 1 if self.quantizer in ("lfq", "bsq") else self.code_dim

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
        need(
            self.padding != "reflect" or min(height, width) >= 2 * f,
            "data.image_size",
            image_size,
            f"reflection needs 2 codes per side, {2 * f} pixels; or use tokenizer.padding replicate",
        )
        return height // f, width // f
