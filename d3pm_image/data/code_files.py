"""The files of a code cache: ``codes.npy`` uint16 (variants, n, H, W), or, past a million images,
``codes-00000.npy``, … of a million each; ``labels.npy`` int64 (n,); ``meta.json`` with their checksums
(:mod:`.code_sums`). All are memory-mapped; none is ever read into memory as a whole.
"""

from __future__ import annotations

import mmap
import os
import shutil
import tokenize
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .code_sums import DAMAGED, read_meta, wrong_sums

SHARD_IMAGES = 2**20
MAPPED_PAGES = 2**28
"""Bytes of a large cache that may count as this process's memory at once."""
FAULT = 2**16
"""Largest number of bytes that the system maps around a scattered read."""


@dataclass(frozen=True)
class Layout:
    """Shapes of a cache's files.

    Args:
        variants: 2 with mirror images, else 1.
        count: Images.
        grid: Code cells (H, W).
        shard: Images per file; 0 for one file.
    """

    variants: int
    count: int
    grid: tuple[int, ...]
    shard: int = 0

    @classmethod
    def of(cls, place: Path) -> Layout:
        """As meta.json says. Raises one of :data:`~d3pm_image.data.code_sums.DAMAGED` if it is missing or
        invalid."""
        meta = read_meta(place)
        layout = cls(meta["variants"], meta["count"], tuple(meta["grid"]), meta.get("shard", 0))
        numbers = (layout.variants, layout.count, *layout.grid)
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (*numbers, layout.shard))
        if not whole or min(numbers) < 1 or layout.shard < 0 or len(layout.grid) != 2 or layout.variants > 2:
            raise ValueError("wrong numbers in meta.json")
        if layout.shard and layout.files > 100_000:
            raise ValueError("too many files in meta.json")
        return layout

    @property
    def rows(self) -> int:
        """Images per file; the last one may hold fewer."""
        return self.shard or self.count

    @property
    def files(self) -> int:
        """Number of files."""
        return -(-self.count // self.rows)

    def name(self, number: int) -> str:
        """Name of a file by its number."""
        return f"codes-{number:05d}.npy" if self.shard else "codes.npy"

    def shape(self, number: int) -> tuple[int, ...]:
        """Shape of a file: variants, images, H, W."""
        return (self.variants, min(self.rows, self.count - number * self.rows), *self.grid)

    @property
    def names(self) -> list[str]:
        """Names of all files but meta.json."""
        return [*(self.name(number) for number in range(self.files)), "labels.npy"]

    def damaged(self, place: Path) -> list[str]:
        """Names of the files that are missing, have a wrong length or type, or do not match their checksum.

        Raises:
            OSError: a file is there and cannot be read.
        """
        wrong = [
            self.name(n)
            for n in range(self.files)
            if not fits(place / self.name(n), self.shape(n), np.uint16)
        ]
        if not fits(place / "labels.npy", (self.count,), np.int64) or not labels_fit(place):
            wrong.append("labels.npy")
        found = wrong_sums(place, [name for name in self.names if name not in wrong])
        return [name for name in (*self.names, "meta.json") if name in wrong or name in found]


def fits(path: Path, shape: tuple[int, ...], kind: type) -> bool:
    """Whether a .npy file exists and has a whole array of this shape and dtype.

    Raises:
        OSError: it is there and cannot be read.
    """
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        found = np.load(path, mmap_mode="r")
    except (*DAMAGED, EOFError, zipfile.BadZipFile, tokenize.TokenError):
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False
    if not isinstance(found, np.ndarray):  # an archive of arrays under this name
        found.close()
        return False
    return found.shape == shape and found.dtype == kind


def labels_fit(place: Path) -> bool:
    """Whether labels of the right length are those of the classes in meta.json. If there are checksums, these
    decide."""
    meta = read_meta(place)
    names = meta.get("class_names")
    if "sha256" in meta or names is None:
        return True
    labels = np.load(place / "labels.npy", mmap_mode="r")
    return isinstance(names, list) and bool(labels.min() >= -1 and labels.max() < len(names))


def empty(path: Path, shape: tuple[int, ...], kind: type) -> None:
    """Write a .npy file of zeros that takes no space yet. An existing file of that name, which may have a
    second name, is unlinked, not changed."""
    path.unlink(missing_ok=True)
    np.lib.format.open_memmap(path, "w+", kind, shape).flush()


def prepare(part: Path, place: Path, layout: Layout, batch_size: int) -> None:
    """Make the files of an unfinished cache, and ``done.npy`` with one flag per batch. Files of an earlier
    run with the same batches are kept, and so are the undamaged files of a damaged cache at ``place``: only
    what is missing is encoded."""
    batches = -(-layout.count // batch_size)
    if fits(part / "done.npy", (batches,), np.uint8):
        done = np.load(part / "done.npy")
    else:
        for name in layout.names:
            (part / name).unlink(missing_ok=True)
        done = np.full(batches, salvage(part, place, layout), np.uint8)
    for number in range(layout.files):
        if not fits(part / layout.name(number), layout.shape(number), np.uint16):
            empty(part / layout.name(number), layout.shape(number), np.uint16)
            first, end = number * layout.rows, (number + 1) * layout.rows
            done[first // batch_size : -(-end // batch_size)] = 0
    if not fits(part / "labels.npy", (layout.count,), np.int64):
        empty(part / "labels.npy", (layout.count,), np.int64)
        done[:] = 0
    np.save(part / ".done.npy", done)
    os.replace(part / ".done.npy", part / "done.npy")


def salvage(part: Path, place: Path, layout: Layout) -> bool:
    """Link the undamaged files of a damaged cache into ``part``; True if its labels and some of its codes are
    undamaged."""
    try:
        wrong = layout.damaged(place) if Layout.of(place) == layout else ["meta.json"]
    except DAMAGED:
        return False
    names = [layout.name(n) for n in range(layout.files)]
    if "labels.npy" in wrong or "meta.json" in wrong or not set(names) - set(wrong):
        return False
    for name in [*(n for n in names if n not in wrong), "labels.npy"]:
        try:
            os.link(place / name, part / name)
        except OSError:  # a file system without hard links
            shutil.copyfile(place / name, part / name)
    return True


class CodeWriter:
    """Writes batches into the files of :func:`prepare`. It uses write, not the map, so that a full disk is an
    error and not a signal, and processes on other machines that write the rest of a page lose nothing."""

    def __init__(self, part: Path, layout: Layout):
        self.part, self.layout = part, layout

    def write(self, start: int, codes: Sequence[np.ndarray], labels: np.ndarray) -> None:
        """Codes (b, H, W) of every variant and labels (b,) of the images from ``start`` on; on disk when it
        returns."""
        layout, stop = self.layout, start + len(labels)
        for number in range(start // layout.rows, (stop - 1) // layout.rows + 1):
            first = number * layout.rows
            here, cell = (
                slice(max(start, first) - start, min(stop, first + layout.rows) - start),
                int(np.prod(layout.grid)),
            )
            shape = layout.shape(number)
            at = [
                (variant * shape[1] + start + here.start - first) * cell for variant in range(layout.variants)
            ]
            self._put(
                layout.name(number),
                [(a, some[here].astype(np.uint16)) for a, some in zip(at, codes, strict=True)],
            )
        self._put("labels.npy", [(start, labels.astype(np.int64))])

    def finish(self, batch: int) -> None:
        """Flag a batch, whose codes are on disk."""
        self._put("done.npy", [(batch, np.ones(1, np.uint8))])

    def _put(self, name: str, pieces: list[tuple[int, np.ndarray]]) -> None:
        """Arrays at places counted in elements."""
        begin = np.load(self.part / name, mmap_mode="r").offset
        with open(self.part / name, "r+b") as file:
            for at, piece in pieces:
                file.seek(begin + at * piece.itemsize)
                file.write(piece.tobytes())
            file.flush()
            os.fsync(file.fileno())


class CodeFiles:
    """The codes of a cache as one array (variants, n, H, W), from one or several files.

    Raises:
        One of :data:`~d3pm_image.data.code_sums.DAMAGED`: a damaged cache.
    """

    def __init__(self, place: Path):
        self.layout, self._touched = Layout.of(place), 0
        self.parts = [
            np.load(place / self.layout.name(number), mmap_mode="r") for number in range(self.layout.files)
        ]
        self.large = sum(part.nbytes for part in self.parts) > MAPPED_PAGES
        self._advise("MADV_RANDOM")  # batches are scattered: reading ahead would cost time and memory

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all codes together: variants, images, H, W."""
        return (self.layout.variants, self.layout.count, *self.layout.grid)

    def read(self, variants: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """uint16 (b, H, W): the i-th is image ``indices[i]`` in variant ``variants[i]``."""
        self._touched += len(indices)
        if self.large and self._touched * FAULT > MAPPED_PAGES:
            # they stay in the system's cache, but are not this process's memory
            self._advise("MADV_DONTNEED")
            self._touched = 0
        if len(self.parts) == 1:
            return self.parts[0][variants, indices]
        found = np.empty((len(indices), *self.layout.grid), np.uint16)
        number, row = np.divmod(indices, self.layout.rows)
        for part in np.unique(number):
            at = number == part
            found[at] = self.parts[part][variants[at], row[at]]
        return found

    def blocks(self, size: int = 65536) -> Iterator[np.ndarray]:
        """All codes in order, (variants, size or fewer, H, W) at a time."""
        for part in self.parts:
            for start in range(0, part.shape[1], size):
                yield part[:, start : start + size]

    def name(self, index: int) -> str:
        """The file that holds an image."""
        return self.layout.name(index // self.layout.rows)

    def _advise(self, what: str) -> None:
        if hasattr(mmap, what):
            for part in self.parts:
                part._mmap.madvise(getattr(mmap, what))
