"""Images that repeat without a seam, and such that do not."""

from __future__ import annotations

import numpy as np


def periodic(count: int, side: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, side, side) grey: bright blobs on a torus, at places drawn evenly."""
    random = np.random.default_rng(seed)
    at = np.arange(side)
    images = np.zeros((count, side, side))
    for _ in range(3):
        centres, widths = random.random((count, 2, 1)) * side, random.uniform(side / 12, side / 6, (count, 1))
        steps = np.abs(at - centres)
        near = np.exp(-((np.minimum(steps, side - steps) / widths[..., None]) ** 2))
        images += near[:, 0, :, None] * near[:, 1, None, :]
    return (255 * images.clip(0, 1)).round().astype(np.uint8)
