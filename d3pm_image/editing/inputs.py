"""What is handed to an edit: one picture or several, and what to repaint of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard, cast

import numpy as np
from PIL import Image

from ..config import need
from .masks import Mask, as_mask

Pictures = Image.Image | Sequence[Image.Image]
Masks = Mask | Sequence[Mask | None] | None
"""One mask for all pictures or a list with one for each; None is the whole picture."""


def gather(image: Pictures, mask: Masks) -> tuple[list[Image.Image], list[np.ndarray]]:
    """Pictures and their masks, (h, w) bool each.

    Args:
        image: A picture, or several.
        mask: What to repaint: one mask for all pictures, or a list with one for each.

    Raises:
        ConfigError: no picture, another number of masks, or a mask that does not fit its picture.
    """
    images = [image] if isinstance(image, Image.Image) else list(image)
    need(bool(images), "image", 0, "give at least one picture")
    # what is given for a picture is its mask, a nested list too, which as_mask takes for an array
    masks = list(mask) if several(mask) and not isinstance(image, Image.Image) else [cast("Mask | None", mask)] * len(images)
    need(len(masks) == len(images), "mask", len(masks), f"give one mask for each of the {len(images)} images")
    return images, [np.ones((i.height, i.width), bool) if m is None else as_mask(m, i) for i, m in zip(images, masks, strict=True)]


def several(mask: Masks) -> TypeGuard[Sequence[Mask | None]]:
    """Whether this is a list of masks, or masks stacked in an array (n, h, w), rather than one."""
    return mask.ndim > 2 if isinstance(mask, np.ndarray) else isinstance(mask, (list, tuple))
