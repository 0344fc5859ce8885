"""Properties of the images that the choices depend on: number, size, grey or colour, whether mirror images
differ, and the time to read them."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...config import ConfigError, check
from ...data.facing import facing, is_grey, suited_channels, thumbnail, uses_alpha
from ...data.failures import is_decoder_error
from ...data.spread import spread_over
from ...imaging import plain
from ...pixel_range import has_alpha

if TYPE_CHECKING:
    from ...data.image_source import ImageSource

LOOKED_AT = 200
"""Images that are opened, spread over the set."""
LOOK_S = 10.0
"""Seconds after which no further image is opened: some photographs take half a second each."""
LEAST_IMAGES = 20


@dataclass(frozen=True)
class Seen:
    """Properties of the images.

    Args:
        images, held_out: How many train, and how many are held out.
        side: Pixels of the shorter side that nine in ten images have at least.
        grey: Whether all opened images have only shades of grey.
        facing: Share of the differences from the mirror image that all images of a class have in common, see
            :func:`~d3pm_image.data.facing.facing`.
        classes: Number of classes.
        read_s: Seconds to read one image.
        clear: Most of those that were opened have transparent parts.
    """

    images: int
    held_out: int
    side: int
    grey: bool
    facing: float
    classes: int
    read_s: float = 0.0
    clear: bool = False


def look(training: ImageSource, held_out: ImageSource) -> Seen:
    """Open some of the images that train.

    Raises:
        ConfigError: too few images, or none that can be read.
    """
    few = f"too few; give {LEAST_IMAGES} or more, some hundreds for new images that are worth a look"
    whole = len(training) + len(held_out)
    check(whole >= LEAST_IMAGES, "data", f"{whole} images", few)
    sides, grey, thumbs, labels = list[int](), list[bool](), list[np.ndarray](), list[str]()
    clear = list[bool]()
    began = time.perf_counter()
    chosen = spread_over(len(training), LOOKED_AT)  # in random order: time may end the loop
    for index in np.random.default_rng(0).permutation(chosen).tolist():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd tags; training says which it leaves out
                image = training.load(index)
                small = thumbnail(plain(image, 3))
        except Exception as error:
            if not is_decoder_error(error):
                raise
            continue
        sides.append(min(image.size))
        grey.append(is_grey(image.mode, small))
        clear.append(uses_alpha(image))
        thumbs.append(small.mean(-1))
        labels.append("" if training.labels is None else str(training.labels[index]))
        if time.perf_counter() - began > LOOK_S and len(sides) >= LEAST_IMAGES:
            break
    if not sides:
        raise ConfigError("data", training.place, "not one image could be decoded; check the folder")
    seconds = (time.perf_counter() - began) / len(sides)
    face = facing(np.stack(thumbs), labels)
    side = int(np.quantile(sides, 0.1))
    classes = len(training.class_names)
    most_clear = has_alpha(suited_channels(grey, clear))
    return Seen(len(training), len(held_out), side, all(grey), face, classes, seconds, most_clear)
