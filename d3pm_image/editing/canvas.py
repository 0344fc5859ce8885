"""A region of an image as input of the tokenizer, and back: hidden pixels are filled in, the region is
resized and padded; painted pixels are put back in place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..imaging import fill_hidden, plain_srgb, to_pil, to_tensor
from .regions import Region, Size


@dataclass(frozen=True)
class Canvas:
    """The encoded part of an image.

    Args:
        region: Its place in the image.
        pixels: (C, h, w) float in [0, 1], of the size ``region.canvas``.
        open: (h, w) bool, the pixels to draw: where any pixel of the mask falls, and the padding.
    """

    region: Region
    pixels: Tensor
    open: Tensor


def convert_for(image: Image.Image, channels: int, size: Size) -> Image.Image:
    """An image in the model's mode, in sRGB and at its size (height, width), stretched if the shape
    differs."""
    return resized(plain_srgb(image, channels), size)


def resized(image: Image.Image, size: Size) -> Image.Image:
    """An image at a size (height, width); itself where it has that size."""
    return image if image.size == size[::-1] else image.resize(size[::-1], Image.Resampling.BICUBIC)


def make_canvas(
    image: Image.Image, mask: np.ndarray, region: Region, channels: int, hide: bool = True
) -> Canvas:
    """The canvas of a region.

    Args:
        image: The image, in any mode.
        mask: (h, w) bool, True = draw.
        region: Part of the image.
        channels: Of the model.
        hide: Whether the mask's pixels are filled in, so that none of their content is left; padding always
            is.
    """
    covered = torch.from_numpy(np.ascontiguousarray(region.of(mask)))
    pixels = to_tensor(plain_srgb(image, channels, ~mask, region.box))
    if hide:
        # at the image's own size: resizing first would mix hidden pixels into known ones
        pixels = fill_hidden(pixels[None], covered[None])[0]
    pixels = to_tensor(resized(to_pil(pixels[None])[0], region.size))
    touched = F.adaptive_max_pool2d(covered[None].float(), region.size)[0] > 0
    margin = (0, region.canvas[1] - region.size[1], 0, region.canvas[0] - region.size[0])
    if not any(margin):
        return Canvas(region, pixels, touched)
    padding = F.pad(torch.zeros_like(touched), margin, value=True)
    return Canvas(
        region, fill_hidden(F.pad(pixels, margin)[None], padding[None])[0], F.pad(touched, margin, value=True)
    )


def put_back(region: Region, painted: Tensor, size: Size, exact: bool = False) -> Image.Image:
    """An image of a size (height, width) that shows painted pixels (C, h, w) of a canvas in their region,
    and black elsewhere; ``exact`` keeps their colours where that is of another size."""
    part = to_pil(painted[None, :, : region.size[0], : region.size[1]])[0]
    if exact:
        part = part.resize(region.pixels[::-1], Image.Resampling.NEAREST)
    part = resized(part, region.pixels)
    if region.pixels == size:
        return part
    whole = Image.new(part.mode, size[::-1])
    whole.paste(part, region.box[:2])
    return whole


def covered_pixels(region: Region, cells: Tensor, downsampling: int, size: Size) -> np.ndarray:
    """Pixels of an image of a size (height, width) that lie in the given cells (H, W) of a region's canvas,
    (h, w) bool."""
    pixels = cells.cpu().repeat_interleave(downsampling, 0).repeat_interleave(downsampling, 1)
    pixels = pixels[: region.size[0], : region.size[1]]
    inside = F.interpolate(pixels[None, None].float(), region.pixels, mode="nearest-exact")[0, 0] > 0
    whole = np.zeros(size, bool)
    region.of(whole)[...] = inside.numpy()
    return whole
