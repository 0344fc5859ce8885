"""Pictures around a repaint: what of a picture may be encoded, and how the result is pasted back into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..imaging import fill_hidden, plain, to_pil, to_tensor
from .masks import Mask, as_mask
from .picture import paste


@dataclass(frozen=True)
class Prepared:
    """A picture ready for a repaint.

    Args:
        original: The picture as given.
        mask: (h, w) bool at the picture's size, True = repaint.
        pixels: (C, h', w') float in [0, 1] at the model's size, hidden pixels filled in.
        hidden: (h', w') bool at the model's size; True where any hidden pixel falls.
    """

    original: Image.Image
    mask: np.ndarray
    pixels: Tensor
    hidden: Tensor


def convert_for(image: Image.Image, channels: int, size: tuple[int, int]) -> Image.Image:
    """A picture in the model's mode and at its size (height, width), stretched if the shape differs."""
    image = plain(image, channels)
    return image if image.size == (size[1], size[0]) else image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def hidden_free(image: Image.Image, mask: Mask, channels: int, size: tuple[int, int]) -> Prepared:
    """Prepare a picture so that nothing of its hidden pixels is left in what will be encoded.

    Raises:
        ConfigError: see :func:`~d3pm_image.editing.masks.as_mask`.
    """
    hidden = as_mask(mask, image)
    pixels = to_tensor(plain(image, channels, ~hidden))[None]
    # filled at the picture's own size: resizing first would mix hidden pixels into known ones
    filled = to_pil(fill_hidden(pixels, torch.from_numpy(hidden)[None]))[0]
    touched = F.adaptive_max_pool2d(torch.from_numpy(hidden)[None].float(), size)[0] > 0
    return Prepared(image, hidden, to_tensor(convert_for(filled, channels, size)), touched)


def completed(prepared: Prepared, painted: Image.Image) -> Image.Image:
    """The original picture with the painted one (model's size) pasted under the mask; all else is unchanged."""
    original = prepared.original
    painted = painted if painted.size == original.size else painted.resize(original.size, Image.Resampling.BICUBIC)
    return paste(original, painted, prepared.mask)
