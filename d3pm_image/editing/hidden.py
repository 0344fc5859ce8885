"""Regions that evaluations hide of images and inpaint.

    half      the left, right, top or bottom half
    box       a rectangle anywhere, each side a third to two thirds of the image's
    strokes   brush strokes with turns, until a fifth of the pixels is hidden

What is hidden depends only on a seed and the image's number. At least one pixel is hidden and one is known.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from ..config import check
from ..config.editing import HIDDEN
from ..seeds import entropy
from .regions import Size

SIDES = ("left", "right", "top", "bottom")
LEAST_SIDE = 4
"""Pixels per side of the smallest image that has all of these regions."""
STROKES_SHARE = 0.2
TURN, PARTS = math.pi / 3, 6  # largest turn of a brush, and straight parts of a stroke


def hidden_mask(region: str, size: Size, seed: int, number: int) -> np.ndarray:
    """The pixels that a region hides of an image of a size (height, width), bool (h, w).

    Args:
        region: One of half, box and strokes.
        seed, number: At least 0; another number is another region.

    Raises:
        ConfigError: an unknown region, or an image with a side under 4 pixels.
    """
    check(region in HIDDEN, "region", region, f"use one of {', '.join(HIDDEN)}")
    hint = f"is too small for a hidden region; it needs {LEAST_SIDE} pixels per side or more"
    check(min(size) >= LEAST_SIDE, "image_size", f"{size[1]}x{size[0]}", hint)
    random = np.random.default_rng(entropy(seed, number, HIDDEN.index(region)))
    if region == "half":
        return half(size, SIDES[int(random.integers(len(SIDES)))])
    return box(size, random) if region == "box" else strokes(size, random)


def half(size: Size, side: str) -> np.ndarray:
    """The half of an image at its left, right, top or bottom, bool (h, w); of an odd number of pixels, the
    first half is the smaller one."""
    height, width = size
    row, column = np.arange(height)[:, None], np.arange(width)[None]
    hidden = {
        "left": column < width // 2,
        "right": column >= width // 2,
        "top": row < height // 2,
        "bottom": row >= height // 2,
    }
    return np.broadcast_to(hidden[side], size).copy()


def box(size: Size, random: np.random.Generator) -> np.ndarray:
    """A rectangle anywhere inside an image, bool (h, w)."""
    mask, spans = np.zeros(size, bool), list[slice]()
    for side in size:
        length = int(random.integers(max(1, side // 3), 2 * side // 3 + 1))
        first = int(random.integers(side - length + 1))
        spans.append(slice(first, first + length))
    mask[tuple(spans)] = True
    return mask


def strokes(size: Size, random: np.random.Generator) -> np.ndarray:
    """Strokes of a round brush, an eighth of the shorter side thick, bool (h, w). Each has up to
    six straight parts; the last one ends where a fifth of the pixels is hidden."""
    (height, width), least = size, min(size)
    thick = max(1, round(least / 8))
    area = Image.new("L", (width, height))
    brush, radius = ImageDraw.Draw(area), (thick - 1) / 2
    while True:
        x, y = random.uniform(0, width - 1), random.uniform(0, height - 1)
        heading = random.uniform(0, 2 * math.pi)
        for _ in range(PARTS):
            heading += random.uniform(-TURN, TURN)
            length = random.uniform(least / 8, least / 3)
            after = (
                min(max(x + length * math.cos(heading), 0), width - 1),
                min(max(y + length * math.sin(heading), 0), height - 1),
            )
            brush.line((x, y, *after), fill=1, width=thick)
            x, y = after
            brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
            mask = np.asarray(area) > 0
            if mask.mean() >= STROKES_SHARE:
                return mask
