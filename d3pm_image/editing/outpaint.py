"""Continuing an image beyond its borders: a larger canvas with the image on it, and a mask of the new
pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..config import check
from ..config.editing import read_format
from .regions import Size, Window

MOST = 10_000
"""Pixels to add on a side."""


def check_sides(size: tuple[int, int], sides: dict[str, int]) -> None:
    """Check sizes before anything is allocated.

    Args:
        size: (width, height) of the image.
        sides: Pixels to add at ``left``, ``top``, ``right`` and ``bottom``.

    Raises:
        ConfigError: a negative number or too much on a side, or a canvas of more pixels than Pillow's limit.
    """
    for name, value in sides.items():
        check(0 <= value <= MOST, name, value, f"give 0 to {MOST} pixels")
    width, height = size[0] + sides["left"] + sides["right"], size[1] + sides["top"] + sides["bottom"]
    fits = width * height <= (Image.MAX_IMAGE_PIXELS or MOST**2)
    check(fits, ", ".join(sides), sides, f"{width}x{height} pixels are too many")


def sides_to(size: tuple[int, int], form: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels to add to an image (width, height) at its left, top, right and bottom until its sides are as a
    format's (width, height): at both ends of the side that is too short, an odd pixel on the right or at the
    bottom."""
    width, height = size
    across = max(0, round(height * form[0] / form[1]) - width)
    down = 0 if across else max(0, round(width * form[1] / form[0]) - height)
    return across // 2, down // 2, across - across // 2, down - down // 2


def extend(
    image: Image.Image, left: int, top: int, right: int, bottom: int, to: str = ""
) -> tuple[Image.Image, np.ndarray]:
    """An image in its own mode with the given numbers of new pixels on each side, or those that a format
    such as 16:9 needs, and their mask (h, w) bool.

    Raises:
        ConfigError: see :func:`check_sides`; or a format that is not width:height, or pixels besides.
    """
    if to:
        form = read_format(to, {"left": left, "top": top, "right": right, "bottom": bottom})
        left, top, right, bottom = sides_to(image.size, form)
    check_sides(image.size, {"left": left, "top": top, "right": right, "bottom": bottom})
    mask = np.ones((image.height + top + bottom, image.width + left + right), bool)
    mask[top : top + image.height, left : left + image.width] = False
    # Pillow's crop beyond the borders keeps mode, palette and transparency
    return image.crop((-left, -top, image.width + right, image.height + bottom)), mask


def outpaint_window(window: Window, canvases: Sequence[Size], model: Size) -> Window:
    """``auto`` as tiles if a canvas (height, width) is larger than the model's size, so that images keep
    their scale."""
    larger = any(size[0] > model[0] or size[1] > model[1] for size in canvases)
    return "tiles" if window == "auto" and larger else window
