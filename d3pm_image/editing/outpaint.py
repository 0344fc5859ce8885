"""Continuing an image beyond its borders: a larger canvas with the image on it, and a mask of the new
pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..config import check
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


def extend(
    image: Image.Image, left: int, top: int, right: int, bottom: int
) -> tuple[Image.Image, np.ndarray]:
    """An image in its own mode with the given numbers of new pixels on each side, and their mask (h, w) bool.

    Raises:
        ConfigError: see :func:`check_sides`.
    """
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
