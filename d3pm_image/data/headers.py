"""Headers of a source's images: sizes, modes, and properties that need a decision before pixels are read."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

from ..image_io import read_header
from ..imaging import is_deep
from .colour import is_foreign
from .failures import is_decoder_error
from .spread import spread_over

HEADERS_LOOKED_AT = 64
"""Images of a source whose list is made without opening them."""


@dataclass(frozen=True)
class Headers:
    """Properties of a source's images by their headers.

    Args:
        looked: How many headers were read.
        sizes: (width, height) of the smallest and the largest image.
        modes: Pillow mode → number of images.
        deep: Numbers of the images with more than 8 bits per level.
        foreign: How many have a colour profile other than that of sRGB.
    """

    looked: int = 0
    sizes: tuple[tuple[int, int], ...] = ()
    modes: Counter[str] = field(default_factory=Counter)
    deep: tuple[int, ...] = ()
    foreign: int = 0


class HeaderReader:
    """Collects :class:`Headers`, image by image."""

    def __init__(self) -> None:
        self.looked, self.foreign, self.deep = 0, 0, list[int]()
        self.sizes: set[tuple[int, int]] = set()
        self.modes: Counter[str] = Counter()

    def add(self, number: int, image: Image.Image) -> None:
        """Look at an opened image, which need not be loaded."""
        self.looked += 1
        self.modes[image.mode] += 1
        self.foreign += is_foreign(image)
        area = lambda size: (size[0] * size[1], size)  # noqa: E731
        sizes = {*self.sizes, image.size}
        self.sizes = {min(sizes, key=area), max(sizes, key=area)}
        if is_deep(image.mode):
            self.deep.append(number)

    def found(self) -> Headers:
        """The properties so far."""
        sizes = tuple(sorted(self.sizes, key=lambda size: (size[0] * size[1], size)))
        return Headers(self.looked, sizes, self.modes, tuple(self.deep), self.foreign)


class Loads(Protocol):
    """The members of an :class:`~d3pm_image.data.image_source.ImageSource` that are needed."""

    @property
    def load(self) -> Callable[[int], Image.Image]:
        """Loads an image by its number."""

    def read(self, index: int) -> bytes:
        """An image's bytes; None if it has no file."""

    def __len__(self) -> int: ...


def read_some(source: Loads) -> Headers:
    """Properties of some of a source's images, spread over it, by their headers; those that cannot be decoded
    are skipped."""
    reader = HeaderReader()
    for index in spread_over(len(source), HEADERS_LOOKED_AT).tolist():
        try:
            data = source.read(index)
            reader.add(index, read_header(io.BytesIO(data)) if data else source.load(index))
        except Exception as error:
            if not is_decoder_error(error):
                raise
    return reader.found()
