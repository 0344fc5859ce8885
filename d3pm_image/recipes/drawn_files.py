"""New images as files, drawn by one process or many: a PNG each in a folder, or all in one ``.npz`` as the
suites read that compute published scores (``arr_0``, uint8, n × h × w × channels).

Batches are numbered from the first image on and dealt out to the processes in turn, so any number of them
writes the same files. What an interrupted request has written is kept, and left out when it goes on.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError, need
from ..documents import Unreadable, read_json
from ..outputs import new_files
from ..provenance.reading import read_settings
from ..provenance.writing import image_path, write_images
from ..storage import whole_file, write_text
from ..training.launch import gathered, place_among_processes

Draw = Callable[[int, int], Sequence[Image.Image]]
"""(number of the first image, how many) → that many images."""


@dataclass(frozen=True)
class Files:
    """A request for images as files.

    Args:
        out: Folder, or a file that ends in .npz.
        ids: Class of each image; the number of classes for none.
        class_names: Names of the classes.
        facts: What the files carry: model, settings, seed.
        first: Number of the first image.
        batch_size: Images that are drawn at once.
        overwrite: Replace what is there; else a file that is there gets a neighbour with a number.
        resume: Leave out what an interrupted request has written.
    """

    out: Path
    ids: Sequence[int]
    class_names: Sequence[str]
    facts: dict[str, Any]
    first: int = 0
    batch_size: int = 64
    overwrite: bool = False
    resume: bool = False
    rank: int = field(default_factory=lambda: place_among_processes()[0])
    processes: int = field(default_factory=lambda: place_among_processes()[1])

    @property
    def last(self) -> int:
        """Number of the last image."""
        return self.first + len(self.ids) - 1

    def batches(self) -> Iterator[range]:
        """Numbers of the images of every batch of this process."""
        starts = range(self.first, self.last + 1, self.batch_size)[self.rank :: self.processes]
        return (range(start, min(start + self.batch_size, self.last + 1)) for start in starts)

    def draw(self, draw: Draw) -> list[Path]:
        """Draw what is missing and write it; the files of all processes in the order of their numbers, on
        each of them.

        Raises:
            ConfigError: ``resume`` where files of another request lie, or parts of one without it.
        """
        return self._npz(draw) if self.out.suffix.lower() == ".npz" else self._folder(draw)

    def _folder(self, draw: Draw) -> list[Path]:
        written: list[tuple[int, str]] = []
        for numbers in self.batches():
            ids = self.ids[numbers.start - self.first : numbers.stop - self.first]
            names = [image_path(self.out, n, self.last, self.facts, i, self.class_names)
                     for n, i in zip(numbers, ids, strict=True)]  # fmt: skip
            there = [path for path in names if self.resume and path.exists()]
            for path in there:
                self._same(path)
            if len(there) < len(names):
                made = draw(numbers.start, len(numbers))
                paths = write_images(
                    self.out, made, ids, self.class_names, self.facts, numbers.start, self.last,
                    self.overwrite, set(there),
                )  # fmt: skip
            else:
                paths = names
            written += [(number, str(path)) for number, path in zip(numbers, paths, strict=True)]
        return [Path(path) for _, path in sorted(chain.from_iterable(gathered(written)))]

    def _same(self, path: Path) -> None:
        """Raises ConfigError for an image that another request has written."""
        held = read_settings(path)
        asked = json.loads(json.dumps(self.facts))
        if other := [name for name, value in asked.items() if held.get(name) != value]:
            name = other[0]
            hint = f"was made with {name} {held.get(name)!r}, not {self.facts[name]!r}; choose another --out"
            raise ConfigError("resume", str(path), hint)

    def _npz(self, draw: Draw) -> list[Path]:
        parts = self.out.with_name(f".{self.out.name}.parts")
        self._begin(parts)
        for numbers in self.batches():
            place = parts / f"{numbers.start:012d}.npy"
            if not place.exists():
                made = [np.atleast_3d(np.asarray(image)) for image in draw(numbers.start, len(numbers))]
                with whole_file(place) as part, part.open("wb") as file:
                    np.save(file, np.stack(made))
        gathered(None)  # all have written theirs
        paths = []
        if self.rank == 0:
            with new_files(self.out, self.overwrite) as files:
                join(parts, files.draft, self.ids)
            paths = [str(files.path)]
            shutil.rmtree(parts)
        return [Path(path) for path in chain.from_iterable(gathered(paths))]

    def _begin(self, parts: Path) -> None:
        """The folder of the parts, which says what request they belong to."""
        request = json.loads(json.dumps({
            **self.facts, "first": self.first, "num_images": len(self.ids), "batch_size": self.batch_size,
        }))  # fmt: skip
        if self.rank == 0:
            hint = (
                f"an unfinished request left parts in {parts.name}; add --resume true, or remove that folder"
            )
            need(self.resume or not parts.exists(), "out", str(self.out), hint)
            parts.mkdir(parents=True, exist_ok=True)
            known = parts / "request.json"
            if known.exists():
                try:
                    held = read_json(known)
                except Unreadable as error:
                    raise ConfigError("resume", str(parts), f"{error}; remove that folder") from None
                held = held if isinstance(held, dict) else {}
                other = ", ".join(name for name, value in request.items() if held.get(name) != value)
                hint = f"holds parts of a request with another {other}; remove it, or ask as before"
                need(not other, "resume", str(parts), hint)
            write_text(known, json.dumps(request, indent=1) + "\n")
        gathered(None)  # none writes before the first has looked


def join(parts: Path, out: Path, ids: Sequence[int]) -> None:
    """All parts, by their numbers, as one ``.npz``: ``arr_0`` and ``labels``. One part is in memory
    at a time."""
    places = sorted(parts.glob("*.npy"))
    shape = np.load(places[0], mmap_mode="r").shape[1:]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("arr_0.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(ids), *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for place in places:
                file.write(np.load(place).tobytes())
        with archive.open("labels.npy", "w") as file:
            np.save(file, np.asarray(ids, dtype=np.int64))
