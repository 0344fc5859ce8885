"""Paste a painting into an image of any mode: pixels of weight 0 keep their bits, in the image's own mode.

1                      black or white, whichever is nearer
L, RGB, CMYK, YCbCr …  the painting in that mode, mixed band by band (HSV, whose hue is a circle:
                       mixed in RGB)
LA, RGBA, La, RGBa     as above, each counting by its opacity: that of the painting, where it
                       has alpha, else what is painted is opaque
I;16, I, F             levels of :func:`~d3pm_image.imaging.full_level`: 257 times those of the
                       painting in 16 bits
P, PA                  :mod:`~d3pm_image.editing.image_files.palette`

Where an image has one transparent colour or entry, what is less than half opaque becomes it; in an image that
is opaque as a whole, a painting lies on white.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...config import check
from ...image_io import from_srgb
from ...imaging import ALPHA_MODES, full_level, is_deep, plain, profile_channels
from .palette import paste_indexed

__all__ = ["paste", "plain"]


def paste(original: Image.Image, painted: Image.Image, weight: np.ndarray) -> Image.Image:
    """A copy of an image with a painting in it, in the image's mode and with its palette, profile and other
    metadata.

    Args:
        original: Any mode.
        painted: Of the same size; it is read as 8-bit grey or colour, with its alpha in modes LA and RGBA.
        weight: (h, w), the painting's weight in [0, 1]. Pixels of weight 0 are those of the original, bit for
            bit; pixels of weight 1 are the painting's, and opaque if it has no alpha.

    Raises:
        ConfigError: another size, or weights outside [0, 1].
    """
    weight = np.asarray(weight, np.float64)
    hint = f"must have the image's size {original.size}"
    check(painted.size == original.size, "painted", painted.size, hint)
    hint = f"must be ({original.height}, {original.width})"
    check(weight.shape == (original.height, original.width), "weight", weight.shape, hint)
    check(bool(((weight >= 0) & (weight <= 1)).all()), "weight", "outside", "weights lie in [0, 1]")
    touched = weight > 0
    if not touched.any():
        return original.copy()
    box = bounding_box(touched)  # of a large image with a small repaint only this part is processed
    part, paint = original.crop(box), painted.crop(box)
    inside = np.s_[box[1] : box[3], box[0] : box[2]]
    shares, opacity = weight[inside], None
    if (
        painted.mode in ("LA", "RGBA")
        and original.has_transparency_data
        and not with_levels_of_alpha(original)
    ):
        paint, opacity = blended(part, paint, shares)
        shares = touched[inside].astype(float)
    if original.mode in ("P", "PA"):
        own = None if opacity is None else opacity[touched[inside]]
        return paste_indexed(
            original, mixed(plain(part, 3), plain(paint, 3), shares)[touched[inside]], touched, own
        )
    result, values = original.copy(), np.array(original)
    if original.mode == "1":
        new: np.ndarray = mixed(plain(part, 1), plain(paint, 1), shares) >= 128
    else:
        new = new_values(part, paint, shares, full_level(original, weight < 1))
        if "transparency" in original.info:
            new = unlike(new, original.info["transparency"])
            if opacity is not None:
                new[opacity < 128] = original.info["transparency"]
    some = touched[inside] if values.ndim == 2 else touched[inside][..., None]
    np.copyto(values[inside], new, casting="unsafe", where=some)
    result.frombytes((np.packbits(values, axis=1) if original.mode == "1" else values).tobytes())
    return result


def with_levels_of_alpha(image: Image.Image) -> bool:
    """Whether every pixel of an image has a level of opacity beside its colour."""
    return image.mode in ALPHA_MODES and image.mode != "PA"


def blended(
    original: Image.Image, painted: Image.Image, weight: np.ndarray
) -> tuple[Image.Image, np.ndarray]:
    """The mixture of an image and a painting with alpha, for a mode without such levels: opaque, in RGB, and
    its opacity (h, w), uint8."""
    mixture = over(np.asarray(plain(original, 4)), np.asarray(plain(painted, 4)), weight).astype(np.uint8)
    return Image.fromarray(mixture[..., :3].copy()), mixture[..., 3]


def in_own_colours(painted: Image.Image, original: Image.Image) -> Image.Image:
    """An sRGB painting in the colours of the profile that an image carries: mode L, RGB or CMYK, with the
    painting's alpha where the image has transparency, else laid on white; itself where that changes
    nothing."""
    mode = "CMYK" if original.mode == "CMYK" else "L" if profile_channels(original.mode) == 1 else "RGB"
    profile = original.info.get("icc_profile")
    if painted.mode not in ("LA", "RGBA"):
        return from_srgb(painted, profile, mode)
    if not original.has_transparency_data or mode == "CMYK":
        return from_srgb(plain(painted, len(painted.mode) - 1), profile, mode)
    moved = from_srgb(painted.convert(painted.mode[:-1]), profile, mode).copy()
    moved.putalpha(painted.getchannel("A"))
    return moved


def bounding_box(touched: np.ndarray) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the True pixels, as Pillow counts."""
    (y,), (x,) = np.nonzero(touched.any(1)), np.nonzero(touched.any(0))
    return int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1


def mixed(original: Image.Image, painted: Image.Image, weight: np.ndarray) -> np.ndarray:
    """Whole levels (h, w) or (h, w, bands) between two images of one mode, uint8."""
    if (weight == 1).all():
        return np.asarray(painted)
    old, new = np.asarray(original), np.asarray(painted)
    if old.ndim == 2:
        return np.rint(old * (1 - weight) + new * weight).astype(np.uint8)
    result = np.empty_like(old)
    # one at a time: in float64 all of a large image would be eight times its size
    for band in range(old.shape[2]):
        result[..., band] = np.rint(old[..., band] * (1 - weight) + new[..., band] * weight)
    return result


def new_values(original: Image.Image, painted: Image.Image, weight: np.ndarray, full: float) -> np.ndarray:
    """The mixture of image and painting in the image's mode, (h, w) or (h, w, bands); ``full`` is the
    level of white."""
    mode = original.mode
    if is_deep(mode):
        old = np.asarray(original).astype(np.float64)
        new = np.asarray(plain(painted, 1)) * (full / 255)
        with np.errstate(invalid="ignore"):  # infinite levels under the painting
            value = np.where(weight < 1, old * (1 - weight) + new * weight, new)
        return value if mode == "F" else np.rint(np.nan_to_num(value))
    if mode in ("LA", "RGBA"):
        return over(np.asarray(original), np.asarray(plain(painted, len(mode))), weight)
    if mode in ("La", "RGBa"):
        return mixed(original, plain(painted, len(mode)).convert(mode), weight)
    colours = plain(painted, 1 if mode == "L" else 3)
    if mode == "HSV":
        return np.asarray(Image.fromarray(mixed(original.convert("RGB"), colours, weight)).convert(mode))
    # a painting that is CMYK already is in the inks of the image's profile
    return mixed(original, painted if painted.mode == mode == "CMYK" else colours.convert(mode), weight)


def over(original: np.ndarray, painted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mixture of two images with opacity (h, w, bands + 1): each counts by its opacity."""
    old = original[..., -1:] / 255 * (1 - weight[..., None])
    new = painted[..., -1:] / 255 * weight[..., None]
    alpha = old + new
    colour = (original[..., :-1] * old + painted[..., :-1] * new) / np.where(alpha > 0, alpha, 1)
    return np.rint(np.concatenate([colour, alpha * 255], axis=-1))


def unlike(values: np.ndarray, transparent: int | tuple[int, ...]) -> np.ndarray:
    """Levels, changed by one where they equal the colour that the file format treats as transparent."""
    key = np.asarray(transparent)
    same = values == key if values.ndim == 2 else (values == key).all(-1)
    last = values if values.ndim == 2 else values[..., -1]
    moved = np.where(same, np.where(last > 0, last - 1.0, last + 1.0), last)
    return moved if values.ndim == 2 else np.concatenate([values[..., :-1], moved[..., None]], axis=-1)
