"""Images and masks rolled, as if they repeated: what leaves at one border enters at the other."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..config import Tile, wraps
from ..imaging import grid_image
from .regions import Size


def rolled(image: Image.Image, down: int, right: int) -> Image.Image:
    """A copy of an image, in its own mode, moved by so many pixels."""
    (width, height), result = image.size, image.copy()
    down, right = down % height, right % width
    for top, y in ((height - down, 0), (0, down)):
        for left, x in ((width - right, 0), (0, right)):
            box = (left, top, min(left + width - x, width), min(top + height - y, height))
            if box[0] < box[2] and box[1] < box[3]:
                result.paste(image.crop(box), (x, y))
    return result


def best_start(span: int, side: int, model: int) -> int:
    """Where a hole of ``span`` pixels is to begin along a side so that it lies in the middle of the first
    window of the model's size, with known pixels before and behind it; one that leaves no place for them, in
    the middle of the side."""
    return ((min(side, model) if span <= model - 2 else side) - span) // 2


def centring(mask: np.ndarray, tile: Tile, model: Size) -> tuple[int, int]:
    """The roll (down, right) along the tiled axes that brings what a mask (h, w) bool marks to where
    :func:`best_start` says; the mark may go on beyond a border, and begins after its largest gap."""
    moves = [0, 0]
    for axis, periodic in enumerate(wraps(tile)):
        places = np.flatnonzero(mask.any(1 - axis))
        side = mask.shape[axis]
        if not periodic or len(places) in (0, side):
            continue
        gaps = np.diff(places, append=places[0] + side)
        largest = int(gaps.argmax())
        first = int(places[(largest + 1) % len(places)])
        span = side - int(gaps[largest]) + 1
        moves[axis] = best_start(span, side, model[axis]) - first
    return moves[0], moves[1]


def repeated(image: Image.Image, tile: Tile) -> Image.Image:
    """An image three times beside itself (``x``), below itself (``y``) or both, so that seams show."""
    down, across = (3 if periodic else 1 for periodic in wraps(tile))
    return grid_image([image] * (across * down), across, gap=0)
