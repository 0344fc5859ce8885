"""Pictures around a repaint: what of a picture may be encoded, and how the result is pasted back into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .config import need
from .data.images import convert
from .imaging import fill_hidden, read_mask, to_pil, to_tensor


@dataclass(frozen=True)
class Prepared:
    """A picture ready for a repaint.

    Args:
        original: The picture as given, palettes and 16-bit levels resolved to L or RGB.
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
    image = convert(image, channels)
    return image if image.size == (size[1], size[0]) else image.resize((size[1], size[0]), Image.Resampling.BICUBIC)


def hidden_free(image: Image.Image, mask: Image.Image | np.ndarray, channels: int, size: tuple[int, int]) -> Prepared:
    """Prepare a picture so that nothing of its hidden pixels is left in what will be encoded.

    Raises:
        ConfigError: the mask has another size, or is not two-dimensional.
    """
    if isinstance(mask, Image.Image):
        hidden = read_mask(mask, image.size)
    else:
        hidden = np.asarray(mask)
        need(
            hidden.shape == (image.height, image.width),
            "mask",
            hidden.shape,
            f"must have the image's shape ({image.height}, {image.width})",
        )
        hidden = hidden if hidden.dtype == bool else hidden >= 128
    original = (
        image
        if image.mode in ("L", "RGB", "RGBA", "LA")
        else convert(image, 1 if image.mode in ("1", "I", "F") or image.mode.startswith("I;16") else 3)
    )
    plain = to_tensor(convert(original, channels))[None]
    # filled at the picture's own size: resizing first would mix hidden pixels into known ones
    filled = to_pil(fill_hidden(plain, torch.from_numpy(hidden)[None]))[0]
    touched = F.adaptive_max_pool2d(torch.from_numpy(hidden)[None].float(), size)[0] > 0
    return Prepared(original, hidden, to_tensor(convert_for(filled, channels, size)), touched)


def completed(prepared: Prepared, painted: Image.Image) -> Image.Image:
    """The original picture with the painted one (model's size) pasted under the mask; all else is unchanged."""
    original = prepared.original
    painted = painted if painted.size == original.size else painted.resize(original.size, Image.Resampling.BICUBIC)
    opaque = painted.convert(original.mode)
    result = np.where(prepared.mask[..., None] if len(original.getbands()) > 1 else prepared.mask, np.asarray(opaque), np.asarray(original))
    return Image.fromarray(result.astype(np.uint8))
