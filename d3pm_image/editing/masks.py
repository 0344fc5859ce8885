"""Which pixels are repainted: images, arrays, boxes, polygons and an image's own transparency, as one bool
array.

Pixel (0, 0) is the top left one; x runs to the right, y downwards. True, and white, is repainted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from PIL import Image, ImageDraw

from ..config import check
from ..imaging import is_deep, with_opacity

GREY_PAINT = 16
"""Largest difference of the channels, of 255, in a stroke that counts as grey."""
WHOLE = re.compile(r"[+-]?\d{1,6}")


def _whole_numbers(part: str, name: str, text: str, hint: str) -> list[int]:
    """The whole numbers of a part of ``text``, separated by commas."""
    words = [word.strip() for word in part.split(",")]
    check(all(WHOLE.fullmatch(word) for word in words), name, text, hint)
    return [int(word) for word in words]


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: columns x to x + width - 1, rows y to y + height - 1.

    Parts outside the image are ignored; a box that covers no pixel of the image is an error.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        whole = all(isinstance(number, Integral) for number in (self.x, self.y, self.width, self.height))
        check(whole, "box", str(self), "give x, y, width and height in whole pixels")
        hint = "its width and height (the last two) must be 1 pixel or more"
        check(self.width >= 1 and self.height >= 1, "box", str(self), hint)

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> Box:
        """The box of ``"x,y,width,height"``.

        Raises:
            ConfigError: not four whole numbers, or no width or height.
        """
        hint = "give x,y,width,height in whole pixels, such as 10,20,64,48"
        numbers = _whole_numbers(text, "box", text, hint)
        check(len(numbers) == 4, "box", text, hint)
        return cls(*numbers)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """bool (h, w) in an image of ``size`` (width, height). Raises ConfigError for a box that covers no
        pixel of it."""
        width, height = size
        mask = np.zeros((height, width), bool)
        mask[max(self.y, 0) : max(self.y + self.height, 0), max(self.x, 0) : max(self.x + self.width, 0)] = (
            True
        )
        hint = f"lies outside the image, which is {width}x{height} pixels"
        check(bool(mask.any()), "box", str(self), hint)
        return mask


@dataclass(frozen=True)
class Polygon:
    """An area by its corners, pixels (x, y); the pixels on its outline belong to it.

    Parts outside the image are ignored; a polygon that covers no pixel of the image is an error.
    """

    points: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        check(len(self.points) >= 3, "polygon", str(self), "give three corners or more")

    def __str__(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)

    @classmethod
    def parse(cls, text: str) -> Polygon:
        """The polygon of ``"x1,y1 x2,y2 x3,y3"`` with three corners or more.

        Raises:
            ConfigError: corners that are not pairs of whole numbers, or fewer than three.
        """
        hint = (
            "give three corners or more, each as x,y in whole pixels, with spaces between: '10,10 60,10"
            " 35,50'"
        )
        points = [
            _whole_numbers(part, "polygon", text, hint)
            for part in re.sub(r"\s*,\s*", ",", text.strip()).split()
        ]
        check(len(points) >= 3 and all(len(point) == 2 for point in points), "polygon", text, hint)
        return cls(tuple((x, y) for x, y in points))

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """bool (h, w) in an image of ``size`` (width, height). Raises ConfigError for a polygon that covers
        no pixel of it."""
        area = Image.new("L", size)
        ImageDraw.Draw(area).polygon(self.points, fill=1, outline=1)
        mask = np.asarray(area) > 0
        hint = f"lies outside the image, which is {size[0]}x{size[1]} pixels"
        check(bool(mask.any()), "polygon", str(self), hint)
        return mask


Mask = Image.Image | np.ndarray | Box | Polygon | str


def as_mask(mask: Mask, image: Image.Image) -> np.ndarray:
    """Pixels of ``image`` to repaint, bool (h, w).

    Args:
        mask: One of

            - an image of the image's size: from half of its full level on, see :func:`full_of`. Colour is
              reduced to grey. Of an image with transparent parts only what is at least half opaque counts;
              where that is paint (all of it dark, all light, or coloured) rather than black and white, all of
              it is repainted;
            - an array (h, w): bool as it is; else from half of the full level on;
            - a :class:`Box` or :class:`Polygon`;
            - the text ``"alpha"``: where the image itself is less than half opaque.

    Raises:
        ConfigError: another size, an area wholly outside the image, ``"alpha"`` for an image without
            transparency, or an image or array that is not wholly black but marks no pixel.
    """
    if isinstance(mask, (Box, Polygon)):
        return mask.mask(image.size)
    if isinstance(mask, str):
        check(mask == "alpha", "mask", mask, 'give an image, an array, a Box, a Polygon or the word "alpha"')
        return _transparent(image)
    if isinstance(mask, Image.Image):
        hint = f"must have the image's size {image.width}x{image.height}"
        check(mask.size == image.size, "mask", mask.size, hint)
        return _white(mask)
    array = np.asarray(mask)
    shape = (image.height, image.width)
    check(array.shape == shape, "mask", array.shape, f"must have the image's shape {shape}")
    if array.dtype == bool:
        return array.copy()
    hint = "give bool, or finite numbers"
    check(array.dtype.kind in "uif" and bool(np.isfinite(array).all()), "mask", str(array.dtype), hint)
    return _from_half(array)


def combine(masks: Iterable[np.ndarray]) -> np.ndarray:
    """Union of one mask or more, bool (h, w) each and of one shape."""
    return np.logical_or.reduce(list(masks))


def full_of(levels: np.ndarray) -> int:
    """The level of white in a mask: 1 if none is over 1 (masks of 0 and 1), 255 if none is over
    255, else 65535."""
    most = levels[np.isfinite(levels)].max(initial=0)
    return 1 if most <= 1 else 255 if most <= 255 else 65535


def _from_half(levels: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Where levels (h, w) are at least half of white, bool (h, w).

    Args:
        counts: bool (h, w), the pixels that count; None for all.

    Raises:
        ConfigError: some levels are over 0, and none reaches half.
    """
    seen = levels if counts is None else np.where(counts, levels, 0)
    full = full_of(seen)
    marked = seen >= full / 2
    if not marked.any():
        most = seen[np.isfinite(seen)].max(initial=0)
        hint = f"marks no pixel: from {full / 2:g} on it is repainted; use white for what is to be repainted"
        check(most <= 0, "mask", f"brightest level {most:g} of {full}", hint)
    return marked


def _white(mask: Image.Image) -> np.ndarray:
    """The pixels that a mask image marks, bool (h, w)."""
    key = mask.info.get("transparency")
    if is_deep(mask.mode):
        levels = np.asarray(mask).astype(np.float64)
        return _from_half(levels, levels != key if isinstance(key, int) else None)
    if key is None and mask.getbands()[-1] not in ("A", "a"):
        # LAB and HSV can be converted to grey only by way of RGB
        return _from_half(
            np.asarray((mask.convert("RGB") if mask.mode in ("LAB", "HSV") else mask).convert("L"))
        )
    layer = with_opacity(mask)
    alpha, colours = np.asarray(layer.getchannel("A")), layer.convert("RGB")
    opaque = alpha >= 128
    one_colour = all(low == high for low, high in colours.getextrema())  # type: ignore[misc]
    if opaque.all() and not (one_colour and np.ptp(alpha)):
        return _from_half(np.asarray(colours.convert("L")))
    hint = "is transparent everywhere; paint what is to be repainted"
    check(bool(opaque.any()), "mask", f"{mask.width}x{mask.height} {mask.mode}", hint)
    grey = np.asarray(colours.convert("L"))
    return opaque if _is_paint(np.asarray(colours)[opaque]) else opaque & (grey >= 128)


def _is_paint(colours: np.ndarray) -> bool:
    """Whether the opaque pixels (n, 3) of a layer are the strokes of a brush: coloured, all dark or all
    light; not black and white."""
    coloured = np.ptp(colours, axis=1).max() > GREY_PAINT
    light = colours.max(axis=1) >= 128
    return bool(coloured or light.all() or not light.any())


def _transparent(image: Image.Image) -> np.ndarray:
    """Less than half opaque."""
    has = "transparency" in image.info or image.getbands()[-1] in ("A", "a")
    hint = f"the image (mode {image.mode}) has no transparency; give a mask, a box or a polygon"
    check(has, "mask", "alpha", hint)
    if image.mode == "I" or image.mode.startswith("I;16"):
        return np.asarray(image) == image.info["transparency"]
    return np.asarray(with_opacity(image).getchannel("A")) < 128
