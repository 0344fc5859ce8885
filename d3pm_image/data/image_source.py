"""A source of images: names, labels, and a way to load each image."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..config import check
from ..image_io import open_image
from .failures import decoded_or_error
from .headers import Headers, read_some
from .identity import Identity
from .unused import Unused

T = TypeVar("T")


@dataclass(frozen=True)
class Files:
    """Loads the i-th of some image files. (Loaders are small classes, not closures: worker processes pickle
    them.)"""

    paths: list[Path]

    def __call__(self, index: int) -> Image.Image:
        return open_image(self.paths[index])


@dataclass(frozen=True)
class Arrays:
    """Gives the i-th of uint8 arrays (n, h, w)."""

    pixels: np.ndarray

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])


@dataclass(frozen=True)
class FromDataset:
    """Gives the image of the i-th item of a torchvision set."""

    dataset: Any

    def __call__(self, index: int) -> Image.Image:
        return self.dataset[index][0]


@dataclass(frozen=True)
class Chosen:
    """Loads the chosen images of another source."""

    load: Callable[[int], Image.Image]
    chosen: np.ndarray

    def __call__(self, index: int) -> Image.Image:
        return self.load(int(self.chosen[index]))


class ChosenNames(Sequence):
    """The chosen names of a source that makes its names when they are asked for."""

    def __init__(self, names: Sequence[str], chosen: np.ndarray):
        self.names, self.chosen = names, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self.names[int(self.chosen[index])]


@dataclass(frozen=True)
class ImageSource:
    """A list of images that can be loaded one by one.

    Args:
        names: One name per image, for messages.
        labels: int64 (n,) in 0..C-1, or None.
        class_names: C names, empty without labels.
        load: index → Pillow image; raises OSError or a Pillow error for an unreadable one.
        fingerprint: Hex digest of the source's content.
        identity: That digest, and others that show how two sources differ.
        unused: Other files there, which are not used.
        listed_headers: Properties by the images' headers, if all were read for the list.
        place: Folder, pattern or name, for messages.
    """

    names: Sequence[str]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    fingerprint: str
    identity: Identity | None = None
    unused: Unused = field(default_factory=Unused)
    listed_headers: Headers | None = None
    place: str = ""

    @property
    def known_as(self) -> Identity:
        """All digests of the source; for embedded pixels only the fingerprint."""
        return self.identity or Identity(self.fingerprint)

    @cached_property
    def headers(self) -> Headers:
        """Properties by the images' headers: of all if they were read for the list, else of some, read
        once."""
        return self.listed_headers or read_some(self)

    def __len__(self) -> int:
        return len(self.names)

    def numbered_by(self, class_names: tuple[str, ...]) -> ImageSource:
        """The same images with another source's class numbers.

        Raises:
            ConfigError: a class that the other source does not have.
        """
        if self.labels is None or self.class_names == class_names:
            return self
        unknown = sorted(set(self.class_names) - set(class_names))
        hint = "classes that data.root does not have; use the same subfolder names"
        check(not unknown, "data.val_root", unknown[:3], hint)
        place = {name: number for number, name in enumerate(class_names)}
        numbers = np.array([place[name] for name in self.class_names], np.int64)
        labels = np.where(self.labels < 0, -1, numbers[self.labels])
        return replace(self, labels=labels, class_names=class_names)

    def subset(self, indices: np.ndarray) -> ImageSource:
        """The images at ``indices``, in that order."""
        chosen = np.asarray(indices, np.int64)
        part = self.known_as.part(chosen.tobytes())
        labels = None if self.labels is None else self.labels[chosen]
        names = (
            [self.names[i] for i in chosen]
            if isinstance(self.names, list)
            else ChosenNames(self.names, chosen)
        )
        headers = self.listed_headers
        if headers is not None:
            among = {index: place for place, index in enumerate(chosen.tolist())} if headers.deep else {}
            headers = replace(headers, deep=tuple(among[i] for i in headers.deep if i in among))
        load = Chosen(self.load, chosen)
        changed = replace(self, names=names, labels=labels, load=load, listed_headers=headers)
        return replace(changed, fingerprint=part.fingerprint, identity=part)

    def read(self, index: int) -> bytes:
        """An image's bytes as on the disk; None for sources without files. Raises OSError."""
        return bytes_of(self.load, index)

    def attempt(self, decode: Callable[[int], T], index: int) -> T | Exception:
        """The result of ``decode`` for an image, or the error that says that it cannot be decoded; errors of
        the system are raised."""
        return decoded_or_error(lambda: decode(index), lambda: self.read(index), lambda: self.names[index])


def bytes_of(load: Any, index: int) -> bytes:
    """Bytes of the i-th image of a loader, through :class:`Chosen`."""
    while isinstance(load, Chosen):
        load, index = load.load, int(load.chosen[index])
    if isinstance(load, Files):
        return load.paths[index].read_bytes()
    return load.read(index) if hasattr(load, "read") else b""


def text_of(path: str | Path) -> str:
    """A path as a text that can be printed and written everywhere: bytes of a name that are not UTF-8 become
    ``\\xNN``."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")
