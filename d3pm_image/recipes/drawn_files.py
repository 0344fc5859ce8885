"""New images as files: one PNG per image in a folder, or all in one ``.npz`` (:mod:`.drawn_array`), drawn by
one process or many.

Batches are numbered from the first image on. Missing ones are distributed over the processes in turn, so any
number of processes writes the same files. A resumed request skips what it has written before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from ..config import ConfigError
from ..printable import printable
from ..provenance.reading import read_settings
from ..provenance.writing import write_images
from ..training.launch import gathered, meet, place_among_processes

Draw = Callable[[int, int], Sequence[Image.Image]]
"""(number of the first image, how many) → that many images."""
ELSEWHERE = ("model", "version", "batch_size")
"""Metadata that may differ when a request is resumed: the model's path (its weights are identified by their
hash) and the batch size."""
Part = TypeVar("Part")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Work that is divided among processes.

    Args:
        rank: Number of this one.
        processes: How many there are.
    """

    rank: int = field(default_factory=lambda: place_among_processes()[0])
    processes: int = field(default_factory=lambda: place_among_processes()[1])

    def own(self, missing: Sequence[Part]) -> Sequence[Part]:
        """This process's share of the missing parts, such as batches."""
        return missing[self.rank :: self.processes]


@dataclass(frozen=True)
class Request(Shared):
    """A request for images as files.

    Args:
        out: Folder, or a file that ends in .npz.
        ids: Class of each image; the number of classes for none.
        class_names: Names of the classes.
        metadata: Recorded in the files: model, settings, seed.
        first: Number of the first image.
        batch_size: Images that are drawn at once.
        overwrite: Replace existing files; else new ones get the next free number.
        resume: Skip what an interrupted request has written.
    """

    out: Path
    ids: Sequence[int]
    class_names: Sequence[str]
    metadata: dict[str, Any]
    first: int = 0
    batch_size: int = 64
    overwrite: bool = False
    resume: bool = False

    @property
    def last(self) -> int:
        """Number of the last image."""
        return self.first + len(self.ids) - 1

    @property
    def asked(self) -> dict[str, Any]:
        """Metadata that an image of this request must have."""
        return compared(self.metadata)

    def batches(self) -> list[range]:
        """Numbers of the images of each batch."""
        starts = range(self.first, self.last + 1, self.batch_size)
        return [range(start, min(start + self.batch_size, self.last + 1)) for start in starts]


def draw_files(request: Request, draw: Draw) -> list[Path]:
    """Draw and write what is missing. Returns the files of all processes in the order of their numbers, on
    each process.

    Raises:
        ConfigError: with ``resume``, files of another request; without it, parts of a request.
    """
    from .drawn_array import draw_array

    if request.processes > 1:
        meet()  # before any process is done: others may draw for hours
    return (draw_array if request.out.suffix.lower() == ".npz" else draw_folder)(request, draw)


def draw_folder(request: Request, draw: Draw) -> list[Path]:
    """:func:`draw_files` into a folder."""
    there = gathered(written(request) if request.resume and request.rank == 0 else {})[0]
    missing = [numbers for numbers in request.batches() if any(n not in there for n in numbers)]
    new: dict[int, str] = {}
    for numbers in request.own(missing):
        ids = request.ids[numbers.start - request.first : numbers.stop - request.first]
        paths = write_images(
            request.out, draw(numbers.start, len(numbers)), ids, request.class_names, request.metadata,
            numbers.start, request.last, request.overwrite, there,
        )  # fmt: skip
        new |= {number: str(path) for number, path in zip(numbers, paths, strict=True)}
    every = there | dict(chain.from_iterable(part.items() for part in gathered(new)))
    return [Path(every[number]) for number in range(request.first, request.last + 1)]


def written(request: Request) -> dict[int, str]:
    """Images in the folder by their number, with any number of digits.

    Raises:
        ConfigError: one of them cannot be read, or was made by another request.
    """
    found, asked = {}, request.asked
    for path in sorted(request.out.glob("*.png")) if request.out.is_dir() else []:
        if not (number := re.match(r"(\d+)-seed\d", path.name)):
            continue
        check_made(path, asked)
        found[int(number[1])] = str(path)
    return found


def compared(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata that all images of a request share, as JSON values."""
    return json.loads(json.dumps({k: v for k, v in metadata.items() if k not in ELSEWHERE}))


def check_made(path: Path, asked: dict[str, Any], usual: dict[str, Any] | None = None) -> None:
    """Metadata of an existing image.

    Args:
        usual: Values of metadata that an image may omit.

    Raises:
        ConfigError: it cannot be read, or was made by another request.
    """
    try:
        held = read_settings(path)
    except ConfigError as error:
        hint = f"{error.hint}; remove it, and it is drawn again"
        raise ConfigError("resume", str(path), hint) from error
    check_same((usual or {}) | held, asked, path)


def check_same(held: dict[str, Any], asked: dict[str, Any], place: Path) -> None:
    """Raises ConfigError if an existing image was made with other settings than the requested ones."""
    if other := next((name for name, value in asked.items() if held.get(name) != value), ""):
        then, now = (printable(repr(value), 100) for value in (held.get(other), asked[other]))
        hint = f"was made with {other} {then}, not {now}; choose another --out"
        raise ConfigError("resume", str(place), hint)
