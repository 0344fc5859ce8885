"""One image, or many in one array, in any form that Python programs hold them, as levels and as a Pillow
image: one set of rules for training and editing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..config import check
from ..image_io import open_image

CHANNELS = (1, 2, 3, 4)
ONE = "an array (h, w) or (h, w, c), or a tensor (c, h, w)"
MANY = "images as (n, h, w) or (n, h, w, c), or as a tensor (n, c, h, w)"


def kind_of(data: Any) -> str:
    """What an object is, and its shape, for messages."""
    shape = f" {tuple(data.shape)} {data.dtype}" if hasattr(data, "shape") and hasattr(data, "dtype") else ""
    return f"{type(data).__name__}{shape}"


def as_array(data: Any) -> Any:
    """A tensor as an array, bfloat16 as float32; all else as it is."""
    if not isinstance(data, torch.Tensor):
        return data
    data = data.detach().cpu()
    return (data.float() if data.dtype == torch.bfloat16 else data).numpy()


def channels_last(data: np.ndarray | torch.Tensor, many: bool) -> np.ndarray:
    """(h, w) or (h, w, c) of one image or, after an axis of their own, of many. Tensors have channels first,
    as torch has them, and arrays last, unless their sizes say otherwise."""
    shape, pixels = data.shape[many:], as_array(data)
    if len(shape) == 2:
        return pixels
    first, last = shape[0] in CHANNELS, shape[-1] in CHANNELS
    pixels = np.moveaxis(pixels, -3, -1) if first and (isinstance(data, torch.Tensor) or not last) else pixels
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def as_levels(data: np.ndarray | torch.Tensor, field: str, many: bool = False) -> np.ndarray:
    """Levels of one image, (h, w) or (h, w, 2 to 4), or of many, after an axis of their own; not copied where
    they are uint8.

    Floating point in [0, 1], truth values, and whole numbers in 0..255 become uint8; uint16 of grey images
    stays.

    Raises:
        ConfigError: other shapes or numbers.
    """
    kind = kind_of(data)
    check(data.ndim - many in (2, 3) and 0 not in data.shape, field, kind, f"give {MANY if many else ONE}")
    pixels = channels_last(data, many)
    grey = pixels.ndim - many == 2
    hint = f"give images with 1 to 4 channels: {MANY if many else ONE}"
    check(grey or pixels.shape[-1] in CHANNELS, field, kind, hint)
    if pixels.dtype == np.uint8 or (pixels.dtype == np.uint16 and grey):
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    hint = "give floating point in [0, 1] (before it is normalised), or uint8; uint16 of grey images"
    check(pixels.dtype.kind in "fiu", field, kind, hint)
    low, high = float(pixels.min()), float(pixels.max())
    floating = pixels.dtype.kind == "f"
    known = low >= 0 and high <= (1 if floating else 255)
    check(known, field, f"{pixels.dtype} from {low:g} to {high:g}", hint)
    return (np.round(pixels * 255) if floating else pixels).astype(np.uint8)


def as_image(item: Any, field: str) -> Image.Image:
    """A Pillow image of one image in any form. Raises ConfigError for anything else."""
    if isinstance(item, Image.Image):
        return item
    if isinstance(item, (str, os.PathLike)):
        return open_image(Path(item))
    item = np.asarray(item) if isinstance(item, list) else item
    hint = f"give a Pillow image, a path, {ONE}"
    check(isinstance(item, (np.ndarray, torch.Tensor)), field, kind_of(item), hint)
    return Image.fromarray(np.ascontiguousarray(as_levels(item, field)))
