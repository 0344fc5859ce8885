"""Colours with their alpha as one number per pixel, to be counted and compared fast."""

from __future__ import annotations

import numpy as np


def packed_colours(rgba: np.ndarray) -> np.ndarray:
    """Pixels (…, 4) uint8 as uint32, one after the other: red in the lowest byte, alpha in the highest;
    colour hidden under alpha 0 counts as 0."""
    shown = np.where(rgba[..., 3:] == 0, 0, rgba).astype("<u4")
    return (shown << np.array([0, 8, 16, 24], "<u4")).sum(-1, dtype=np.uint32).ravel()


def unpacked_colours(packed: np.ndarray) -> np.ndarray:
    """The inverse, (n, 4) uint8 of (n,) uint32."""
    return (packed[:, None] >> np.array([0, 8, 16, 24], np.uint32)).astype(np.uint8)
