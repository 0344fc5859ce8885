"""Colour profiles: models work in sRGB, and what is pasted into an image is in the image's own colours.

Profiles that are sRGB within two levels, do not fit the image's mode, or cannot be used change nothing.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

SPACES = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
"""Colour space in a profile's header → mode of the images that it is for."""
SAME = 2
"""Largest difference of levels, of 255, between a profile and sRGB that counts as none."""


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image of mode L, RGB or CMYK whose colours are those of a profile, in sRGB: itself where that is no
    change, else mode RGB."""
    transform = _transform(profile or b"", image.mode, True)
    return image if transform is None else ImageCms.applyTransform(image, transform)  # type: ignore[return-value]


def from_srgb(image: Image.Image, profile: bytes | None, mode: str) -> Image.Image:
    """An sRGB image (L or RGB) in the colours of a profile for images of ``mode`` (L, RGB or CMYK): itself
    where that changes nothing."""
    transform = _transform(profile or b"", mode, False)
    return image if transform is None else ImageCms.applyTransform(image.convert("RGB"), transform)  # type: ignore[return-value]


@functools.lru_cache(64)
def srgb_transform(profile: bytes, mode: str) -> tuple[ImageCms.ImageCmsTransform | None, bool]:
    """The transform from a profile to sRGB for images of a mode, None where it would change nothing or the
    profile is broken; and whether it is broken."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        there = ImageCms.buildTransform(
            own, ImageCms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, AttributeError, SyntaxError):
        return None, True
    return (None, False) if mode != "CMYK" and is_srgb(there, mode) else (there, False)


@functools.lru_cache(16)
def _transform(profile: bytes, mode: str, to: bool) -> ImageCms.ImageCmsTransform | None:
    """The transform from a profile to sRGB or back; None if none is needed, or none is possible."""
    if SPACES.get(profile[16:20]) != mode:
        return None
    there, _ = srgb_transform(profile, mode)
    if there is None or to:
        return there
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(ImageCms.createProfile("sRGB"), own, "RGB", mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # of a kind that cannot be written to
        return None


def is_srgb(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform to sRGB, for images of mode L, RGB or RGBA, changes no level by more than
    :data:`SAME`."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = (
        levels[None] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    )
    before = Image.fromarray(colours).convert(mode)
    after = ImageCms.applyTransform(before, transform)
    assert after is not None  # as where the image itself is changed
    difference = np.asarray(after.convert("RGB")).astype(int) - np.asarray(before.convert("RGB"))
    return bool(np.abs(difference).max() <= SAME)
