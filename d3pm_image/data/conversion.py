"""One image, or many in one array, in any form that Python programs hold them, as levels and as a Pillow image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..config import need
from ..image_io import open_image


def kind_of(data: Any) -> str:
    """What an object is, and its shape, for messages."""
    shape = f" {tuple(data.shape)} {data.dtype}" if hasattr(data, "shape") and hasattr(data, "dtype") else ""
    return f"{type(data).__name__}{shape}"


def channels_last(data: np.ndarray | torch.Tensor, many: bool) -> np.ndarray:
    """(h, w) or (h, w, c) of one image or, after an axis of their own, of many. Tensors have channels first,
    as torch has them, and arrays last, unless their sizes say otherwise."""
    shape, is_tensor = data.shape[many:], isinstance(data, torch.Tensor)
    pixels = data.detach().cpu().numpy() if isinstance(data, torch.Tensor) else data
    if len(shape) == 2:
        return pixels
    first, last = shape[0] in (1, 3, 4), shape[-1] in (1, 3, 4)
    pixels = np.moveaxis(pixels, -3, -1) if first and (is_tensor or not last) else pixels
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def as_levels(pixels: np.ndarray, field: str) -> np.ndarray:
    """Levels of pixels that Pillow knows: uint8, or uint16 as they are; floating point in [0, 1] and truth
    values become uint8.

    Raises:
        ConfigError: other numbers.
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    shown = f"{pixels.dtype} from {low:g} to {high:g}"
    if pixels.dtype.kind == "f":
        need(
            low >= 0 and high <= 1,
            field,
            shown,
            "give floating point in [0, 1] (before it is normalised), or uint8",
        )
        return np.round(pixels * 255).astype(np.uint8)
    need(
        pixels.dtype.kind in "iu" and low >= 0 and high <= 255,
        field,
        shown,
        "give uint8, or floating point in [0, 1]",
    )
    return pixels.astype(np.uint8)


def as_image(item: Any, field: str) -> Image.Image:
    """A Pillow image of one image in any form."""
    if isinstance(item, Image.Image):
        return item
    if isinstance(item, (str, os.PathLike)):
        return open_image(Path(item))
    if isinstance(item, list):
        item = np.asarray(item)
    need(
        isinstance(item, (np.ndarray, torch.Tensor)),
        field,
        kind_of(item),
        "give each image as a Pillow image, an array or a tensor",
    )
    need(item.ndim in (2, 3), field, kind_of(item), "give an image as (h, w), (h, w, c), or a tensor (c, h, w)")
    pixels = as_levels(channels_last(item, many=False), field)
    need(
        pixels.ndim == 2 or pixels.shape[-1] in (3, 4),
        field,
        kind_of(item),
        "give an image with 1, 3 or 4 channels",
    )
    return Image.fromarray(np.ascontiguousarray(pixels))
