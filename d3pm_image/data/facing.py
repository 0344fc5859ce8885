"""What a few images tell of a set: whether it has colour, whether it uses alpha, and whether its images face
one way, so that mirror images show something else.

Flips are decided by the images. Of a set without a facing, an image and its mirror image are equally
likely, so within a class the difference of the two averages to 0; shoes that all point left, and digits,
leave a mean difference. Its share of the differences' size says which it is; ``train`` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..imaging import plain, profile_channels

THUMB = 16
"""Pixels per side of the small version."""
GREY_IMAGE = 4.0
"""Largest difference of colour channels, of 255, in an image that counts as grey (JPEG leaves a little)."""

CLEAR = 0.01
"""Share of an image's pixels that must not be opaque for its alpha to count as used."""
MOSTLY = 0.5
"""Share of a set's images that must use alpha for models of it to have alpha."""
FACING = 0.03
"""Share of the mirror differences that their class means explain, above which flips change what an image
shows."""


def thumbnail(colour: Image.Image) -> np.ndarray:
    """float32 (THUMB, THUMB, 3) of an RGB image, each cell the mean of its pixels."""
    return np.asarray(colour.resize((THUMB, THUMB), Image.Resampling.BOX), np.float32)


def is_grey(mode: str, thumb: np.ndarray) -> bool:
    """Whether an image of a Pillow mode shows nothing but shades of grey, by its small version."""
    return profile_channels(mode) == 1 or float(np.ptp(thumb, -1).max()) <= GREY_IMAGE


def uses_alpha(image: Image.Image) -> bool:
    """Whether a share of an image's pixels are not opaque: many files carry alpha that is 255 everywhere."""
    if not image.has_transparency_data:
        return False
    return float(np.mean(np.asarray(plain(image, 4).getchannel("A")) < 255)) >= CLEAR


def suited_channels(grey: Sequence[bool], clear: Sequence[bool]) -> int:
    """``data.channels`` that suit a set: 1 where all images are grey, else 3, and one more for alpha where
    most images use it."""
    return (1 if all(grey) else 3) + (float(np.mean(clear)) >= MOSTLY)


def facing(thumbs: np.ndarray, classes: list[str] | None) -> float:
    """Share of the mirror differences x - flip(x) that their class means explain, less what is expected by
    chance; 0 for images without a facing.

    Args:
        thumbs: (n, h, w) grey.
    """
    groups = np.asarray(classes if classes is not None else [""] * len(thumbs))
    difference = (thumbs - thumbs[:, :, ::-1]).reshape(len(thumbs), -1)
    whole = explained = 0.0
    for name in np.unique(groups):
        rows = difference[groups == name]
        if len(rows) > 1:
            mean = rows.mean(0)
            whole += float((rows**2).sum())
            explained += len(rows) * float((mean**2).sum() - rows.var(0, ddof=1).sum() / len(rows))
    return max(0.0, explained / whole) if whole else 0.0
