"""The palette that ``palette:N`` or ``palette:FILE`` names: that of the training images, or a file's."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from ..config import DataConfig, check
from ..data.packed import packed_colours, unpacked_colours
from ..pixel_range import colour_channels, has_alpha
from ..training.launch import place_among_processes

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.objects import GivenImages
    from ..tokenizer.folder import TokenizerInfo
    from ..tokenizer.palette import Palette

AT_ONCE = 256


def palette_tokenizer(
    source: str, data: DataConfig, given: GivenImages | None = None
) -> tuple[Palette, TokenizerInfo]:
    """A tokenizer of a palette's colours, in eval mode on the CPU, and its metadata.

    Args:
        source: A number of colours, or a file.

    Raises:
        ConfigError: no images, or a file that is no palette.
    """
    from ..tokenizer.folder import palette_of
    from ..tokenizer.palette import as_channels, chosen_colours, read_palette

    metadata = {"data": dataclasses.asdict(data.resolved())}
    if not source.isdecimal():
        colours = as_channels(read_palette(source), data.channels)
        return palette_of(colours, data.image_size, metadata)
    found, often = folder_colours(data, given)
    chosen = chosen_colours(found, often, int(source))
    hint = f"the images have {len(chosen)} colour; a palette needs 2"
    check(len(chosen) >= 2, "tokenizer", f"palette:{source}", hint)
    few = "all" if len(found) <= int(source) else f"a median cut to {len(chosen)}"
    if place_among_processes()[0] == 0:
        print(f"palette: {few} of {len(found)} colours")
    return palette_of(as_channels(chosen, data.channels), data.image_size, metadata)


def folder_colours(data: DataConfig, given: GivenImages | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The different colours (n, 4) uint8 of the training images at the model's size, hidden colour 0, and how
    many pixels have each (n,)."""
    from ..data.images import ImageSet
    from ..data.levels import settled
    from ..data.sources import open_source

    data = dataclasses.replace(data.resolved(), flip=False)
    source = open_source(data, False, given)
    images = ImageSet(source, settled(data, source.load, source.headers.deep))
    packed, often = np.zeros(0, np.uint32), np.zeros(0, np.int64)
    for start in range(0, len(images), AT_ONCE):
        batch = images.__getitems__(list(range(start, min(start + AT_ONCE, len(images)))))["images"]
        values, counts = np.unique(packed_colours(rgba_of(batch)), return_counts=True)
        joined, places = np.unique(np.concatenate([packed, values]), return_inverse=True)
        often = np.bincount(places, np.concatenate([often, counts])).astype(np.int64)
        packed = joined
    return unpacked_colours(packed), often


def rgba_of(images: Tensor) -> np.ndarray:
    """Uint8 levels (B, C, h, w) as pixels (B, h, w, 4): grey three times, opaque where they have no alpha."""
    channels, pixels = images.shape[1], images.numpy().transpose(0, 2, 3, 1)
    colour = pixels[..., : colour_channels(channels)]
    alpha = pixels[..., -1:] if has_alpha(channels) else np.full_like(pixels[..., :1], 255)
    return np.concatenate([np.broadcast_to(colour, (*colour.shape[:3], 3)), alpha], -1)
