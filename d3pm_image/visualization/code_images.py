"""Grids of codes as images: decoded or as colours, with masked cells in grey.

A grid with masks is decoded with the nearest visible codes in place of the masks, so that no later step is
visible, and the cells that are still masked are painted grey afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..imaging import for_viewing, to_pil
from ..types import Grid

Decode = Callable[[Tensor], Tensor]
"""Codes (B, H, W) int64 → images (B, C, h, w) in [0, 1]."""

GREY, EDGE = 142, 118  # a masked cell, and its rim
RIM_FROM = 6  # pixels of a cell from which it has a rim


def fill_masks(codes: Tensor, masked: Tensor, grid: Grid) -> Tensor:
    """Clean codes (B, H, W): masks of (B, N) take the code of a nearest visible cell (in steps up, down and
    sideways), 0 where a grid has none."""
    height, width = grid
    filled = codes.masked_fill(masked, 0).view(-1, height, width)
    known = ~masked.view(-1, height, width)
    for _ in range(height + width - 2):
        if bool(known.all()):
            break
        before, seen = filled.clone(), known.clone()
        down, right = (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[..., 1:], np.s_[..., :-1])
        for to, source in (down, down[::-1], right, right[::-1]):
            takes = ~known[to] & seen[source]
            filled[to] = torch.where(takes, before[source], filled[to])
            known[to] = known[to] | takes
    return filled


def code_colours(codes: np.ndarray) -> np.ndarray:
    """(…, 3) uint8 RGB of codes (…): each code its own colour, the same in every image and for every number
    of codes.

    Hue, saturation and value follow the additive sequence of the plastic number in three dimensions (Roberts
    2018), which spreads any first K codes evenly.
    """
    hue, saturation, value = (np.modf(0.5 + codes * share)[0] for share in (0.8191725, 0.6710436, 0.5497005))
    saturation, value = 0.35 + 0.6 * saturation, 0.45 + 0.55 * value
    sector = np.modf((np.array([5.0, 3.0, 1.0]) + 6 * hue[..., None]) / 6)[0] * 6
    colour = value[..., None] * (1 - saturation[..., None] * np.clip(np.minimum(sector, 4 - sector), 0, 1))
    return (colour * 255).round().astype(np.uint8)


def stretch(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cells (H, W, …) as squares of an image of ``size`` = (width, height), whose sides H and W divide."""
    return cells.repeat(size[1] // cells.shape[0], 0).repeat(size[0] // cells.shape[1], 1)


def grey_masks(image: Image.Image, masked: np.ndarray) -> Image.Image:
    """An image with its masked cells (H, W) bool painted grey; cells that are large enough have a rim."""
    pixels = np.array(image)
    pixels[stretch(masked, image.size)] = GREY
    height, width = pixels.shape[0] // masked.shape[0], pixels.shape[1] // masked.shape[1]
    if min(height, width) >= RIM_FROM:
        y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
        rim = (y % height == 0) | (x % width == 0) | (y % height == height - 1) | (x % width == width - 1)
        pixels[stretch(masked, image.size) & rim] = EDGE
    return Image.fromarray(pixels)


def decoded_tiles(codes: Tensor, masked: Tensor, grid: Grid, decode: Decode) -> list[Image.Image]:
    """Images of grids (B, N), enlarged so that they can be seen, L or RGB; what is still masked is grey."""
    images = to_pil(decode(fill_masks(codes, masked, grid)))
    sides = sorted(images[0].size)
    at_least = min(96, max(1, 400 * sides[0] // sides[1]))  # strips grow by their longer side
    return [
        grey_masks(for_viewing(p, at_least), m.view(grid).numpy())
        for p, m in zip(images, masked, strict=True)
    ]


def code_tiles(codes: Tensor, masked: Tensor, grid: Grid, size: tuple[int, int]) -> list[Image.Image]:
    """Grids (B, N) as squares of their codes' colours, RGB of ``size`` (width, height); masks are grey."""
    coloured = code_colours(codes.view(-1, *grid).numpy())
    return [
        grey_masks(Image.fromarray(stretch(c, size)), m.view(grid).numpy())
        for c, m in zip(coloured, masked, strict=True)
    ]
