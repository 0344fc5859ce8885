"""Colour profiles: training uses sRGB, whatever the colour space of an image.

A photograph in Display P3, Adobe RGB or a printer's CMYK has other levels for the same colour, up to some 30
of 255. sRGB profiles change nothing, and images without a profile count as sRGB.
"""

from __future__ import annotations

import warnings
from typing import Any

from PIL import Image

from ..image_io import srgb_transform
from ..imaging import is_deep, plain, profile_channels, with_opacity

SPACES = ("RGB", "GRAY", "CMYK")


def mode_for(image: Image.Image, space: str) -> str:
    """The mode in which an image is converted from a profile's colour space; empty if the two do not fit."""
    if space == "RGB" and not is_deep(image.mode) and image.mode not in ("CMYK", "LAB", "YCbCr", "HSV"):
        clear = "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
        return "RGBA" if clear else "RGB"
    if space == "GRAY" and profile_channels(image.mode) == 1:
        return "L"
    return "CMYK" if space == "CMYK" and image.mode == "CMYK" else ""


def conversion(image: Image.Image) -> tuple[str, Any, bool]:
    """Mode and transform with which an image is converted to sRGB, None for one that stays as it is; and
    whether its profile is broken."""
    profile = image.info.get("icc_profile")
    if not profile or not isinstance(profile, bytes):
        return "", None, False
    space = profile[16:20].decode("latin-1").strip()
    if space not in SPACES:
        return "", None, space not in ("Lab", "XYZ", "YCbr", "HSV")
    mode = mode_for(image, space)
    return (mode, *srgb_transform(profile, mode)) if mode else ("", None, False)


def is_foreign(image: Image.Image) -> bool:
    """Whether an opened image, which need not be loaded, has a profile other than that of sRGB."""
    return conversion(image)[1] is not None


def image_in_srgb(image: Image.Image, name: str = "", white: float = 0.0, alpha: bool = False) -> Image.Image:
    """An image whose levels are those of sRGB; itself where it has no profile, or that of sRGB.

    A broken profile is named in a warning and not used.

    Args:
        name: The image's name, for the warning.
        white: As in :func:`~d3pm_image.imaging.plain`; images of more than 8 bits come back with 8.
        alpha: Keep the alpha of grey images, which are laid on white otherwise.
    """
    mode, transform, broken = conversion(image)
    if broken:
        warnings.warn(f"{name}: its colour profile is broken and is not used", stacklevel=2)
    if transform is None:
        return image
    from PIL import ImageCms

    clear = plain(image, 2, white=white).getchannel("A") if alpha and mode == "L" else None
    flat = (
        plain(image, 2, white=white).convert("L")
        if clear is not None
        else plain(image, 1, white=white)
        if mode == "L"
        else with_opacity(image)
        if mode == "RGBA"
        else image.convert(mode)
    )
    moved = ImageCms.applyTransform(flat, transform)
    assert moved is not None
    moved = moved.convert("L") if mode == "L" else moved
    if clear is not None:
        moved.putalpha(clear)
    for key in ("icc_profile", "transparency"):
        moved.info.pop(key, None)
    return moved
