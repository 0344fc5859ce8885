"""An image made to repeat without a seam: rolled, so that its border lies inside, repainted there, and rolled
back.

A band over the border of one axis ends at the border of the other. So for both axes there are three repaints:
the band over the left and right border, the band over the upper and lower one, which covers the ends of the
first, and the corner, where the ends of the second meet. All of them lie in a cross through the corner of the
image, and each has known pixels, or new ones that fit, on all sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..config import check
from ..config.editing import Axis
from .regions import Size
from .rolling import best_start

MOST_WIDE = 64
"""Pixels of a band where no width is asked for: half of them lie on each side of the border."""
FEATHER = 8
"""Pixels at either edge of a band over which the painting fades into the image, where nothing else is asked
for."""


@dataclass(frozen=True)
class Pass:
    """A repaint on the way.

    Args:
        roll: Pixels (down, right) by which the image is rolled meanwhile.
        mask: (h, w) bool, what of the rolled image is repainted.
    """

    roll: tuple[int, int]
    mask: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The mask on the image itself."""
        return np.roll(self.mask, (-self.roll[0], -self.roll[1]), (0, 1))


def bands(size: Size, axis: Axis, width: int = 0) -> dict[str, int]:
    """Pixels of the band across each border of an image of a size (height, width): over the left and right
    one for ``x``, over the upper and lower one for ``y``.

    Args:
        width: 0 is a quarter of the side that the band lies across, at most :data:`MOST_WIDE`.

    Raises:
        ConfigError: a side of less than 4 pixels, or a band that does not lie on both sides of the
            border, or one that leaves no known pixels.
    """
    sides = {name: side for side, name in zip(size, "yx", strict=True) if axis in (name, "both")}
    least = min(sides.values())
    check(least >= 4, "image", f"{size[1]}x{size[0]}", "needs at least 4 pixels per side that repeats")
    hint = f"leave known pixels between the bands: give 2 to {least - 2}, or 0 to choose"
    check(width == 0 or 2 <= width <= least - 2, "width", width, hint)
    return {name: width or max(2, min(side // 4, MOST_WIDE)) for name, side in sides.items()}


def faded(size: Size, axis: Axis, width: int, feather: int) -> int:
    """Pixels of a feather that leave pixels on both sides of each border that are new altogether."""
    return min(feather, *((wide - 2) // 2 for wide in bands(size, axis, width).values()))


def passes(size: Size, axis: Axis, width: int = 0, feather: int = 0, model: Size | None = None) -> list[Pass]:
    """The repaints that make an image of a size (height, width) seamless.

    Args:
        axis, width: See :func:`bands`.
        feather: Pixels at the edges of a band that are not in the mask, for they fade, see :func:`faded`.
        model: Size of the model's images; a larger image is rolled so that a band lies in the middle of a
            window of that size (:func:`~d3pm_image.editing.rolling.best_start`).

    Raises:
        ConfigError: see :func:`bands`.
    """
    wide, sides = bands(size, axis, width), dict(zip("yx", size, strict=True))
    start = {
        name: best_start(pixels, sides[name], most)
        for name, most in zip("yx", model or size, strict=True)
        if (pixels := wide.get(name))
    }
    roll = {name: first + wide[name] // 2 for name, first in start.items()}

    def within(name: str, less: int) -> np.ndarray:
        """Pixels of a side that lie in the band."""
        pixel = np.arange(sides[name])
        return (pixel >= start[name] + less) & (pixel < start[name] + wide[name] - less)

    found = []
    if "x" in wide:
        found.append(Pass((0, roll["x"]), np.tile(within("x", feather), (size[0], 1))))
    if "y" in wide:
        found.append(Pass((roll["y"], 0), np.tile(within("y", feather)[:, None], (1, size[1]))))
    if axis == "both":  # as high as the band was painted, its fading edges included
        found.append(Pass((roll["y"], roll["x"]), within("y", 0)[:, None] & within("x", feather)))
    return found


def cross(size: Size, axis: Axis, width: int = 0) -> np.ndarray:
    """The pixels (h, w) bool of an image that may change; arguments as in :func:`bands`."""
    return np.logical_or.reduce([one.own for one in passes(size, axis, width)])
