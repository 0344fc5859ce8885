"""Sets of images in memory."""

from __future__ import annotations

import numpy as np

from d3pm_image.config import DataConfig
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet


def image_set(pixels: np.ndarray, labels: np.ndarray | None = None, **changes) -> ImageSet:
    """Grey uint8 images (n, h, w)."""
    names = [f"image {i}" for i in range(len(pixels))]
    classes = () if labels is None else tuple(str(i) for i in range(int(labels.max()) + 1))
    source = ImageSource(names, labels, classes, Arrays(pixels), "fingerprint")
    return ImageSet(source, DataConfig(image_size=pixels.shape[1:], channels=1, **changes))


def noisy(count: int, side: int = 16, seed: int = 0) -> np.ndarray:
    """Images of very different contrast, so that some come back much worse than others."""
    random = np.random.default_rng(seed)
    contrast = random.uniform(0.05, 1, (count, 1, 1))
    return (127 + contrast * random.uniform(-127, 127, (count, side, side))).astype(np.uint8)
