"""The level that means white in images of more than 8 bits per level: one for a whole data set.

Modes I;16, I and F do not define the level of white. Twelve-bit data is stored in 16-bit files, floating
point goes to 1, to 255 or elsewhere, and a scale by the largest level of each image makes one image dark and
another bright. So white is estimated once, over many images: the smallest usual full scale that at most
``CLIPPED`` of all pixels exceed; a few hot pixels do not change it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError, DataConfig
from ..imaging import is_deep
from .spread import spread_over

EACH = -1.0
"""Value of ``data.white``: every image by its own mode and largest level, as before this setting existed."""
LOOKED_AT = 256  # images
PIXELS = 16384  # of each of them
CLIPPED = 1e-3
TOLERANCE = 1.05  # of floating point, which resampling takes a little beyond its full scale
WHOLE_SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
FLOAT_SCALES = (1.0, 255.0, 65535.0)


def white_of(samples: Sequence[np.ndarray]) -> float:
    """White of finite levels of several images, each (n,), all whole numbers or all floating point; every
    image counts the same."""
    floating = samples[0].dtype.kind == "f"
    if not any(len(levels) for levels in samples):
        return 1.0 if floating else 65535.0

    def over(white: float) -> float:
        return float(np.mean([np.mean(levels > white) for levels in samples if len(levels)]))

    scales = FLOAT_SCALES if floating else WHOLE_SCALES
    for scale in scales:
        if over(scale * (TOLERANCE if floating else 1)) <= CLIPPED:
            break
    else:
        scale = np.inf
    used = float(np.quantile(np.concatenate([levels.astype(np.float64) for levels in samples]), 1 - CLIPPED))
    # a scale that the levels fill to less than a quarter is not theirs: 12.7 is not a dark image of 255
    # levels
    usual = np.isfinite(scale) and (scale == scales[0] or used > scale / 4)
    return scale if usual else float(f"{used:.3g}")


def finite_levels(image: Image.Image) -> np.ndarray:
    """Up to ``PIXELS`` levels of an image, spread over it, without NaN and infinity."""
    levels = np.asarray(image).ravel()
    levels = levels[:: max(1, len(levels) // PIXELS)] if len(levels) > PIXELS else levels
    return levels[np.isfinite(levels)]


def estimate_white(load: Callable[[int], Image.Image], deep: Sequence[int]) -> float:
    """White of the images with the given numbers, of which up to ``LOOKED_AT`` are read; 0 if none can be
    read.

    Raises:
        ConfigError: floating point and whole numbers on different scales in one set.
    """
    from .failures import is_decoder_error

    samples: dict[bool, list[np.ndarray]] = {False: [], True: []}
    chosen = spread_over(len(deep), LOOKED_AT)
    for index in chosen:
        try:
            image = load(int(deep[index]))
        except Exception as error:
            if is_decoder_error(error):
                continue  # it is reported and left out when the images are decoded
            raise
        if is_deep(image.mode):
            samples[image.mode == "F"].append(finite_levels(image))
    found = {floating: white_of(some) for floating, some in samples.items() if some}
    if len(set(found.values())) > 1:
        text = (
            f"white is {found[False]:g} in images of whole numbers and {found[True]:g} in those of floating"
            " point"
        )
        raise ConfigError(
            "data.white", 0.0, f"{text}; convert one kind, or give -1: each image by its own extreme"
        )
    return next(iter(found.values()), 0.0)


def settled(config: DataConfig, load: Callable[[int], Image.Image], deep: Sequence[int]) -> DataConfig:
    """The settings with ``white`` as a number where the set has images of more than 8 bits and it is to be
    estimated."""
    if config.white or not len(deep):
        return config
    return dataclasses.replace(config, white=estimate_white(load, deep))


def remembered_white(metadata: Mapping[str, Any]) -> float:
    """The level of white that a model was trained with; 0 if its metadata has none."""
    data = metadata.get("data")
    white = data.get("white", 0.0) if isinstance(data, dict) else 0.0
    return float(white) if isinstance(white, (int, float)) and 0 < white < np.inf else 0.0
