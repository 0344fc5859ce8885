"""Images and features of which a reference is kept."""

from __future__ import annotations

import time

import numpy as np

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import Arrays, ImageSource
from d3pm_image.metrics.feature_extractor import FeatureSpace


def image_set(count: int = 40) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4)).astype(np.uint8)
    source = ImageSource(
        [str(i) for i in range(count)], np.arange(count) % 2, ("a", "b"), Arrays(pixels), "f"
    )
    return ImageSet(source, DataConfig("folder", "x", image_size=4, channels=1))


class Space:
    """Pixels as features; counts the images."""

    def __init__(self, pause_s: float = 0.0):
        self.count, self.pause_s = 0, pause_s

    def __call__(self) -> FeatureSpace:
        def features(images):
            time.sleep(self.pause_s)
            self.count += len(images)
            return images.flatten(1).float()

        return FeatureSpace(features, "pixels", "0" * 64, "as they are")
