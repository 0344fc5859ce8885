"""Which pixels are repainted: pictures, arrays, boxes, polygons and a picture's own transparency, as one bool array.

Pixel (0, 0) is the top left one; x runs to the right, y downwards. True, and white, is repainted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image, ImageDraw

from ..config import need
from ..imaging import full_level, with_opacity

WHOLE = re.compile(r"[+-]?\d{1,6}")


def _whole_numbers(part: str, name: str, text: str, mend: str) -> list[int]:
    """The whole numbers of a part of ``text``, separated by commas."""
    words = [word.strip() for word in part.split(",")]
    need(all(WHOLE.fullmatch(word) for word in words), name, text, mend)
    return [int(word) for word in words]


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: columns x to x + width - 1, rows y to y + height - 1.

    What of it lies outside the picture is left out; a box that covers no pixel of the picture is an error.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self):
        need(self.width >= 1 and self.height >= 1, "box", str(self), "its width and height (the last two) must be 1 pixel or more")

    def __str__(self) -> str:
        return f"{self.x},{self.y},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> Box:
        """The box of ``"x,y,width,height"``.

        Raises:
            ConfigError: not four whole numbers, or no width or height.
        """
        mend = "give x,y,width,height in whole pixels, such as 10,20,64,48"
        numbers = _whole_numbers(text, "box", text, mend)
        need(len(numbers) == 4, "box", text, mend)
        return cls(*numbers)

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """bool (h, w) in a picture of ``size`` (width, height). Raises ConfigError for a box that covers no pixel of it."""
        width, height = size
        mask = np.zeros((height, width), bool)
        mask[max(self.y, 0) : max(self.y + self.height, 0), max(self.x, 0) : max(self.x + self.width, 0)] = True
        need(bool(mask.any()), "box", str(self), f"lies outside the picture, which is {width}x{height} pixels")
        return mask


@dataclass(frozen=True)
class Polygon:
    """An area by its corners, pixels (x, y); the pixels on its outline belong to it.

    What of it lies outside the picture is left out; a polygon that covers no pixel of the picture is an error.
    """

    points: tuple[tuple[int, int], ...]

    def __post_init__(self):
        need(len(self.points) >= 3, "polygon", str(self), "give three corners or more")

    def __str__(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)

    @classmethod
    def parse(cls, text: str) -> Polygon:
        """The polygon of ``"x1,y1 x2,y2 x3,y3"`` with three corners or more.

        Raises:
            ConfigError: corners that are not pairs of whole numbers, or fewer than three.
        """
        mend = "give three corners or more, each as x,y in whole pixels, with spaces between: '10,10 60,10 35,50'"
        points = [_whole_numbers(part, "polygon", text, mend) for part in re.sub(r"\s*,\s*", ",", text.strip()).split()]
        need(len(points) >= 3 and all(len(point) == 2 for point in points), "polygon", text, mend)
        return cls(tuple((x, y) for x, y in points))

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """bool (h, w) in a picture of ``size`` (width, height). Raises ConfigError for a polygon that covers no pixel of it."""
        area = Image.new("L", size)
        ImageDraw.Draw(area).polygon(self.points, fill=1, outline=1)
        mask = np.asarray(area) > 0
        need(bool(mask.any()), "polygon", str(self), f"lies outside the picture, which is {size[0]}x{size[1]} pixels")
        return mask


Mask = Image.Image | np.ndarray | Box | Polygon | str


def as_mask(mask: Mask, image: Image.Image) -> np.ndarray:
    """Pixels of ``image`` to repaint, bool (h, w).

    Args:
        mask: One of

            - a picture of the image's size: from half of its full level on (128 of 255, 32768 of 65535). Colour is
              reduced to grey; a picture of one colour that varies in transparency alone (a brush layer) is read by
              its opacity;
            - an array (h, w): bool as it is; else from half on: of 1 if nothing in it is over 1, of 65535 for uint16 or
              if a number is over 255, else of 255;
            - a :class:`Box` or :class:`Polygon`;
            - the text ``"alpha"``: where the image itself is less than half opaque.

    Raises:
        ConfigError: another size, an area wholly outside the image, or ``"alpha"`` for an image without transparency.
    """
    if isinstance(mask, (Box, Polygon)):
        return mask.mask(image.size)
    if isinstance(mask, str):
        need(mask == "alpha", "mask", mask, 'give a picture, an array, a Box, a Polygon or the word "alpha"')
        return _transparent(image)
    if isinstance(mask, Image.Image):
        need(mask.size == image.size, "mask", mask.size, f"must have the image's size {image.width}x{image.height}")
        return _white(mask)
    array = np.asarray(mask)
    shape = (image.height, image.width)
    need(array.shape == shape, "mask", array.shape, f"must have the image's shape {shape}")
    if array.dtype == bool:
        return array.copy()
    need(array.dtype.kind in "uif" and bool(np.isfinite(array).all()), "mask", str(array.dtype), "give bool, or finite numbers")
    most = array.max()
    return array >= (1 if most <= 1 else 65535 if most > 255 or array.dtype == np.uint16 else 255) / 2


def combine(masks: Iterable[np.ndarray]) -> np.ndarray:
    """Union of one mask or more, bool (h, w) each and of one shape."""
    return np.logical_or.reduce(list(masks))


def _white(mask: Image.Image) -> np.ndarray:
    """From half of the full level on."""
    if mask.mode in ("I", "F") or mask.mode.startswith("I;16"):
        return np.asarray(mask) >= full_level(mask) / 2
    if "A" in mask.getbands():
        *colours, (least, most) = cast("tuple[tuple[int, int], ...]", mask.getextrema())  # of several bands
        if least < most and all(low == high for low, high in colours):
            return np.asarray(mask.getchannel("A")) >= 128
    return np.asarray(mask.convert("L")) >= 128


def _transparent(image: Image.Image) -> np.ndarray:
    """Less than half opaque."""
    has = "transparency" in image.info or image.getbands()[-1] in ("A", "a")
    need(has, "mask", "alpha", f"the picture (mode {image.mode}) has no transparency; give a mask, a box or a polygon")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return np.asarray(image) == image.info["transparency"]
    return np.asarray(with_opacity(image).getchannel("A")) < 128
