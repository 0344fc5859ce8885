"""Pixel values: 8-bit levels 0..255 in files and data sets, [0, 1] between the parts of the package, [-1, 1]
inside networks.

The only place that knows 255 and 2x - 1 of tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor


def from_levels(levels: Tensor) -> Tensor:
    """float32 in [0, 1] of uint8 levels."""
    return levels.float() / 255


def to_levels(images: Tensor) -> Tensor:
    """uint8 levels of images in [0, 1], rounded."""
    return (images * 255).round().to(torch.uint8)


def to_signed(images: Tensor) -> Tensor:
    """Images in [0, 1] as networks take them, in [-1, 1]."""
    return images * 2 - 1
