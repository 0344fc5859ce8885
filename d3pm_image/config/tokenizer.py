"""The tokenizer, and pixels in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import check
from ..tokenizer.quantizers import EMA, MAX_CODES, QUANTIZERS, Quantizer
from .data import size_pair


def pixel_levels(tokenizer: str) -> int:
    """L of ``pixels:L``, the tokenizer without weights; 0 if the text names a folder.

    Raises:
        ConfigError: ``pixels:`` without a whole number.
    """
    kind, colon, levels = tokenizer.partition(":")
    if kind != "pixels" or not colon:
        return 0
    hint = "give 2 intensities per colour channel or more, such as pixels:8"
    check(levels.isdecimal() and int(levels) >= 2, "tokenizer", tokenizer, hint)
    return int(levels)


def palette_source(tokenizer: str) -> str:
    """N or FILE of ``palette:N|FILE``, the tokenizer of a palette's colours; empty where the text names
    another.

    Raises:
        ConfigError: ``palette:`` alone, or a number of colours that no palette has.
    """
    kind, colon, source = tokenizer.partition(":")
    if kind != "palette" or not colon:
        return ""
    hint = "give 2 to 256 colours, such as palette:64, or a file: an image, .gpl, .hex, .pal or .act"
    number = source.isdecimal()
    check(bool(source) and (not number or 2 <= int(source) <= 256), "tokenizer", tokenizer, hint)
    return source


def trains_nothing(tokenizer: str) -> bool:
    """Whether a text names pixels or a palette as codes rather than a trained tokenizer's folder. Raises
    ConfigError as :func:`pixel_levels` and :func:`palette_source`."""
    return bool(pixel_levels(tokenizer) or palette_source(tokenizer))


def pixel_codes(levels: int, channels: int) -> int:
    """Codes of a pixel, levels**channels.

    Raises:
        ConfigError: less than 2 levels, or more codes than are cached.
    """
    hint = "pixels as codes need 1 for grey or 3 for colour; a trained tokenizer takes alpha"
    check(channels in (1, 3), "data.channels", channels, hint)
    most = int(MAX_CODES ** (1 / channels))
    hint = (
        f"must be pixels:2 to pixels:{most} for {channels} colour channel{'s' if channels > 1 else ''} (codes"
        " are cached as 16-bit numbers)"
    )
    check(levels >= 2 and levels**channels <= MAX_CODES, "tokenizer", f"pixels:{levels}", hint)
    return levels**channels


FLAT = {
    "num_codes": None, "code_dim": 32, "levels": (8, 8, 8), "decay": 0.99, "commitment": 0.25,
    "entropy": 0.05, "revive_below": 0.1,
    "rotation_trick": False,
}  # fmt: skip
"""Settings of all quantizers in version 0.1.0, and the values that they had if the chosen quantizer did not
read them."""


def migrated(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a tokenizer, all or some, as this version names them: version 0.1.0 held those of all
    quantizers beside the network's.

    Settings that the quantizer does not have are dropped if they had their default, and so is the number of
    codes, which follows from fsq's levels. Model folders, run configurations and checkpoints are read through
    here.
    """
    name = values.get("quantizer", "")
    own = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in FLAT
    }
    if not isinstance(name, str) or not (name or own):
        return dict(values)
    if name in QUANTIZERS:
        own = {
            setting: value
            for setting, value in own.items()
            if setting in QUANTIZERS[name].types() or value != FLAT[setting]
        }
    levels = own.get("levels", FLAT["levels"])
    if name == "fsq" and isinstance(levels, tuple) and own.get("num_codes") == math.prod(levels):
        del own["num_codes"]
    rest = {key: value for key, value in values.items() if key not in FLAT}
    return {**rest, "quantizer": ({"name": name} if name else {}) | own}


@dataclass(frozen=True)
class TokenizerConfig:
    """The VQ-VAE: images to a grid of codes and back.

    Args:
        downsampling: Pixels per side of a code cell: 1, 2, 4, 8 or 16; image sides must be divisible by it.
        width: Channels of the first level.
        multipliers: Channel factor of each level, finest first: one entry per halving (one entry when
            downsampling is 1).
        blocks: Residual blocks per level in the encoder; the decoder has one more.
        norm: group normalises over the whole image, so that every code depends a little on every pixel;
            channel normalises each position by itself.
        padding: What convolutions see beyond the border: zeros, replicate or reflect.
        upsampling: How the decoder doubles the sides: even keeps flat areas flat, without a pattern of cells;
            smooth filters after each doubling as well, for smooth images such as photographs; shuffle does
            neither, as models of version 0.1.0.
        context: Channels of the branch that shows the decoder the known pixels around a region that is
            repainted, so that it fits to them (--learn context); 0 has none.
        quantizer: How features become codes, with settings of its own: EMA(num_codes=512), FSQ(levels=(8, 5,
            5, 5)) …
    """

    downsampling: Literal[1, 2, 4, 8, 16] = 4
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    norm: Literal["group", "channel"] = "group"
    padding: Literal["zeros", "replicate", "reflect"] = "zeros"
    upsampling: Literal["even", "smooth", "shuffle"] = "even"
    context: int = 0
    quantizer: Quantizer = field(default_factory=EMA)

    def __post_init__(self) -> None:
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        levels = max(1, self.downsampling.bit_length() - 1)
        hint = "use 1, 2, 4, 8 or 16"
        check(self.downsampling in (1, 2, 4, 8, 16), "tokenizer.downsampling", self.downsampling, hint)
        hint = f"give {levels} entries for downsampling {self.downsampling}, one per halving"
        check(len(self.multipliers) == levels, "tokenizer.multipliers", list(self.multipliers), hint)
        hint = "every factor must be at least 1"
        check(all(m >= 1 for m in self.multipliers), "tokenizer.multipliers", list(self.multipliers), hint)
        hint = "use a multiple of 8 (channels are normalised in groups of 8)"
        check(self.width >= 8 and self.width % 8 == 0, "tokenizer.width", self.width, hint)
        check(
            1 <= self.blocks <= 64, "tokenizer.blocks", self.blocks, "use 1 to 64 residual blocks per level"
        )
        check(self.norm in ("group", "channel"), "tokenizer.norm", self.norm, "use group or channel")
        hint = "use zeros, replicate or reflect"
        check(self.padding in ("zeros", "replicate", "reflect"), "tokenizer.padding", self.padding, hint)
        hint = "use even, smooth or shuffle"
        check(self.upsampling in ("even", "smooth", "shuffle"), "tokenizer.upsampling", self.upsampling, hint)
        hint = "give a multiple of 8 up to 1024, such as 32, or 0 for none"
        check(0 <= self.context <= 1024 and self.context % 8 == 0, "tokenizer.context", self.context, hint)
        hint = (
            "give a quantizer with its settings, such as EMA(num_codes=512), of"
            " d3pm_image.tokenizer.quantizers"
        )
        check(isinstance(self.quantizer, Quantizer), "tokenizer.quantizer", self.quantizer, hint)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> TokenizerConfig:
        """From a file of this version or of an earlier one.

        Raises:
            ConfigError: impossible values. TypeError: unknown ones.
        """
        found = {"upsampling": "shuffle", **migrated(values)}  # what there was before the setting
        return cls(**{**found, "quantizer": QUANTIZERS.change(EMA(), **found.get("quantizer", {}))})

    @property
    def num_codes(self) -> int:
        """K."""
        return self.quantizer.num_codes

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image. Raises ConfigError if the downsampling does not divide the sides."""
        height, width = size_pair(image_size)
        f = self.downsampling
        near = tuple(max(f, round(s / f) * f) for s in (height, width))
        hint = (
            f"not divisible by tokenizer.downsampling={f}; use"
            f" {near[0] if near[0] == near[1] else list(near)}"
        )
        check(height % f == 0 and width % f == 0, "data.image_size", image_size, hint)
        hint = f"reflection needs 2 codes per side, {2 * f} pixels; or use tokenizer.padding replicate"
        check(self.padding != "reflect" or min(height, width) >= 2 * f, "data.image_size", image_size, hint)
        return height // f, width // f
