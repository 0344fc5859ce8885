"""Pixel values: 8-bit levels 0..255 in files and data sets, [0, 1] between the parts of the package, [-1, 1]
inside networks.

Images of 2 or 4 channels end with alpha. Their levels hold straight colour c beside alpha a, as files do; in
[0, 1] colour is premultiplied, c·a (Porter & Duff 1984, section 3). Then hidden colour, under alpha 0, counts
nowhere, and means and resized images have no fringes.

The only module with 255, 2x - 1 and the alpha of tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

STRETCH = 1.1
"""Of a decoder's alpha about 1/2."""


def has_alpha(channels: int) -> bool:
    """Whether images of so many channels end with alpha: grey and alpha are 2, colour and alpha 4."""
    return channels in (2, 4)


def colour_channels(channels: int) -> int:
    """Channels of images without their alpha: 1 or 3."""
    return channels - has_alpha(channels)


def from_levels(levels: Tensor) -> Tensor:
    """float32 in [0, 1] of uint8 levels (…, C, h, w), colour premultiplied where they have alpha."""
    return premultiplied(levels.float() / 255)


def to_levels(images: Tensor) -> Tensor:
    """uint8 levels of images (…, C, h, w) in [0, 1], rounded; straight colour where they have alpha, 0 under
    alpha 0. ``to_levels(from_levels(levels))`` is ``levels`` but for hidden colour."""
    if ends_with_alpha(images):
        visible = (images[..., -1:, :, :] * 255).round() > 0
        images = straight(images) * visible
    return (images * 255).round().to(torch.uint8)


def on_white(levels: Tensor) -> Tensor:
    """uint8 levels (B, C, h, w) laid on white, as evaluations see them; levels without alpha as they are."""
    if not ends_with_alpha(levels):
        return levels
    # in parts: as floating point a large set would be four times its size
    return torch.cat([to_levels(over(from_levels(part), 1.0)) for part in levels.split(500)])


def to_signed(images: Tensor) -> Tensor:
    """Images in [0, 1] as networks take them, in [-1, 1]."""
    return images * 2 - 1


def premultiplied(images: Tensor) -> Tensor:
    """Straight colour (…, C, h, w) in [0, 1] times alpha; images without alpha as they are."""
    if not ends_with_alpha(images):
        return images
    colour, alpha = parted(images)
    return torch.cat([colour * alpha, alpha], -3)


def straight(images: Tensor) -> Tensor:
    """The inverse of :func:`premultiplied`: colour above alpha is cut to alpha, and is 0 where alpha is."""
    if not ends_with_alpha(images):
        return images
    colour, alpha = parted(images)
    clear = alpha <= 0
    return torch.cat(
        [torch.where(clear, 0.0, colour / torch.where(clear, 1.0, alpha)).clamp(0, 1), alpha], -3
    )


def settled_alpha(images: Tensor) -> Tensor:
    """A decoder's premultiplied images (B, C, h, w) in [0, 1] with alpha stretched by ``STRETCH`` about 1/2
    and cut to [0, 1], and colour cut to alpha; images without alpha as they are.

    A network comes near 0 and 1 and does not reach them: what is clear in an image would have an alpha of a
    few levels everywhere (docs/transparency.md).
    """
    if not ends_with_alpha(images):
        return images
    colour, alpha = parted(images)
    alpha = ((alpha - 0.5) * STRETCH + 0.5).clamp(0, 1)
    return torch.cat([torch.minimum(colour, alpha), alpha], -3)


def over(images: Tensor, background: Tensor | float) -> Tensor:
    """Premultiplied images (B, C, h, w) laid on an opaque background, (B, C - 1, h, w); images without alpha
    as they are.

    Args:
        background: A level in [0, 1], or what broadcasts to (B, C - 1, h, w).
    """
    if not ends_with_alpha(images):
        return images
    colour, alpha = parted(images)
    return colour + (1 - alpha) * background


def ends_with_alpha(images: Tensor) -> bool:
    """Whether images (…, C, h, w) have alpha; rows of numbers, (n, m), have not."""
    return images.ndim > 2 and has_alpha(images.shape[-3])


def parted(images: Tensor) -> tuple[Tensor, Tensor]:
    """Colour (…, C - 1, h, w) and alpha (…, 1, h, w)."""
    return images[..., :-1, :, :], images[..., -1:, :, :]
