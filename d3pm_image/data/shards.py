"""Images in tar shards (the webdataset layout), read in any order, without one file per image and without
memory per image.

The shards are read once for an index of positions (:mod:`.tar_members`), which is kept in the cache folder as
one memory-mapped array; an image is then one ``pread`` in its shard. A change of a shard changes the
fingerprint, and with it the index and the code cache.
"""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from ..config import check
from ..documents import read_json
from ..image_io import read_image
from ..locks import waiting_lock
from ..printable import printable
from ..storage import replace_folder
from .identity import Identity, identify, stamp_of
from .tar_members import BLOCK, FORMATS, MAX_CLASSES, MAX_LABEL, ROW, Tally, samples
from .unused import Unused

MAX_SHARDS = 1_000_000
ROWS = 65536  # images that are held in memory while an index is written or looked through
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
CLASS_NAMES = "classnames.txt"
UNUSED = "unused.txt"
INDEX = 2  # version of the index


def find_shards(root: str) -> list[Path]:
    """The shards of a folder (``*.tar``), of a pattern with ``*`` or ``?``, or of a range such as
    ``train-{000000..000099}.tar``.

    Raises:
        ConfigError: none, or one of a range is missing.
    """
    place = Path(root).expanduser()
    if place.is_dir():
        found = sorted(p for p in place.glob("*.tar") if p.is_file() and not p.name.startswith("."))
    elif RANGE.search(root):
        found = [Path(name) for name in spelled_out(str(place))]
        missing = [path.name for path in found if not path.is_file()]
        hint = f"{len(missing)} of {len(found)} shards are missing ({', '.join(missing[:3])})"
        check(not missing, "data.root", root, hint)
    else:
        found = (
            [place]
            if place.is_file()
            else [Path(name) for name in sorted(glob.glob(str(place))) if Path(name).is_file()]
        )
    hint = "no shards; name a folder of .tar files, or a pattern such as 'train-{000000..000099}.tar'"
    check(bool(found), "data.root", root, hint)
    hint = f"shards that occur twice, or more than {MAX_SHARDS}"
    check(len(set(found)) == len(found) <= MAX_SHARDS, "data.root", root, hint)
    return found


def spelled_out(pattern: str) -> list[str]:
    """All names of a pattern with ranges {a..b}; numbers are as wide as the first one is written."""
    names = [pattern]
    while found := RANGE.search(names[0]):
        first, last = int(found[1]), int(found[2])
        total = (last - first + 1) * len(names)
        hint = f"a range of {total} shards; give first..last, at most {MAX_SHARDS}"
        check(0 < total <= MAX_SHARDS, "data.root", pattern, hint)
        numbers = [f"{number:0{len(found[1])}d}" for number in range(first, last + 1)]
        names = [RANGE.sub(number, name, count=1) for name in names for number in numbers]
    return names


def class_names_beside(shards: list[Path]) -> tuple[str, ...]:
    """The lines of classnames.txt in the first shard's folder; none without such a file.

    Raises:
        ConfigError: it is too large, not text, or names a class twice.
    """
    path = shards[0].parent / CLASS_NAMES
    if not path.is_file():
        return ()
    hint = "too large; it must have one class name per line"
    check(path.stat().st_size <= 16 * MAX_LABEL, "data.root", str(path), hint)
    try:
        names = tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError:
        names = ()
    sound = 0 < len(names) == len(set(names)) <= MAX_CLASSES
    hint = "must hold class names in UTF-8, one per line, none twice; repair or remove it"
    check(sound, "data.root", str(path), hint)
    return names


@dataclass(frozen=True)
class Shards:
    """The images of some shards; fields as in :class:`~d3pm_image.data.image_source.ImageSource`."""

    names: Sequence[str]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    load: Members
    fingerprint: str
    identity: Identity
    unused: Unused


def open_shards(root: str, cache: Path, use_labels: bool = True, class_names: tuple[str, ...] = ()) -> Shards:
    """Images and labels of shards; the index is made if it is not in ``cache``.

    Args:
        class_names: Names of the labels if no classnames.txt is beside the shards.

    Raises:
        ConfigError: no shards, or damaged ones.
    """
    shards = find_shards(root)
    names = (class_names_beside(shards) or class_names) if use_labels else ()
    stamp = fingerprint_of(shards, names)
    key = hashlib.sha256(f"{stamp} {use_labels} {ROW.descr} {INDEX}".encode()).hexdigest()[:24]
    place = cache / "shards" / key
    if not is_sound(place, shards):
        place.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(place.with_name(f".{key}.lock"), f"the index {place}"):
            if not is_sound(place, shards):
                write_index(place, shards, use_labels, names)
    meta = read_json(place / "meta.json")
    load = Members(tuple(shards), place / "index.npy")
    labels = load.rows["label"] if use_labels and not meta["unlabelled"] else None
    if use_labels and 0 < meta["unlabelled"] < meta["count"]:
        warnings.warn(
            f"{root}: {meta['unlabelled']} of {meta['count']} images have no label, so no classes are used",
            stacklevel=2,
        )
    meaning = "\n".join(names).encode("utf-8", "surrogateescape")
    if labels is not None and not names:
        labels, names = numbered(labels, meta["used"])
    # an index of before did not have these images: codes that were cached then are not of this set
    if meta["dotted"]:
        stamp = hashlib.sha256(f"{stamp} {meta['dotted']} dotted".encode()).hexdigest()
    identity = identify(shards, short_names(shards), lambda stats: stamp, cache, meaning)
    unused = Unused(
        Counter({(group, kind): number for group, kind, number in meta["unused"]}), (), place / UNUSED
    )
    return Shards(
        MemberNames(load),
        labels,
        () if labels is None else names,
        load,
        identity.fingerprint,
        identity,
        unused,
    )


def short_names(shards: list[Path]) -> list[str]:
    """The shards' paths below the folder that holds them all."""
    above = os.path.commonpath([path.absolute().parent for path in shards])
    return [os.path.relpath(path.absolute(), above) for path in shards]


def numbered(labels: np.ndarray, used: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and names of classes that are numbers: those that occur, so that labels 1..N make N classes and
    no empty class 0."""
    if used != list(range(len(used))):
        place = np.full(used[-1] + 1, -1, np.int64)
        place[used] = np.arange(len(used))
        labels = place[labels]
    return labels, tuple(str(number) for number in used)


def fingerprint_of(shards: list[Path], class_names: tuple[str, ...]) -> str:
    """Hex digest of names, sizes and times of the shards, and of what the labels mean."""
    return stamp_of(short_names(shards), [path.stat() for path in shards], "\n".join(class_names).encode())


def write_index(place: Path, shards: list[Path], use_labels: bool, class_names: tuple[str, ...]) -> None:
    """Read the headers of all shards and write the index, complete or absent; programs that do so at once
    write the same.

    Raises:
        ConfigError: a damaged shard, or no image in any.
    """
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    meta: dict[str, Any] = {"count": 0, "unlabelled": 0, "classes": 0}
    used: set[int] = set()

    def rows() -> Iterator[tuple]:
        quiet = not sys.stderr.isatty()
        for number, path in enumerate(
            tqdm(shards, desc="index of shards", unit="shard", disable=quiet, leave=False)
        ):
            yield from samples(path, number, use_labels, class_names, tally)

    try:
        with open(part / "index.npy", "wb") as file, open(part / UNUSED, "w", encoding="utf-8") as unused:
            tally = Tally(write=lambda line: unused.write(f"{line}\n"))
            header(file, 0)
            begins, all_rows = file.tell(), rows()
            while len(block := np.array(list(itertools.islice(all_rows, ROWS)), ROW)):
                file.write(block.tobytes())
                meta["count"] += len(block)
                meta["unlabelled"] += int((block["label"] < 0).sum())
                meta["classes"] = max(meta["classes"], int(block["label"].max()) + 1)
                used.update(np.unique(block["label"]).tolist())
            file.seek(0)
            header(file, meta["count"])
            assert file.tell() == begins  # numpy leaves space for the count to grow
        hint = f"no image in {len(shards)} shards; members must be KEY.jpg, png or webp{found_instead(tally)}"
        check(meta["count"] > 0, "data.root", str(shards[0].parent), hint)
        if tally.alone:
            warnings.warn(
                f"{shards[0].parent}: {tally.alone} keys have a label but no image, left out", stacklevel=2
            )
        meta |= {
            "used": sorted(used - {-1}),
            "dotted": tally.dotted,
            "unused": [[*kind, n] for kind, n in tally.unused.items()],
        }
        (part / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        replace_folder(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def found_instead(tally: Tally) -> str:
    """Content of shards without an image, in words."""
    return f"; {Unused(tally.unused).summary()}" if tally.unused else ""


def header(file: io.BufferedWriter, count: int) -> None:
    """Write NumPy's header of an array of ``count`` rows."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(ROW), "fortran_order": False, "shape": (count,)}
    )


def is_sound(place: Path, shards: list[Path]) -> bool:
    """Whether an index is there, whole, and points into its shards."""
    try:
        meta = read_json(place / "meta.json")
        rows = np.load(place / "index.npy", mmap_mode="r")
        if (
            not isinstance(meta["used"], list)
            or not isinstance(meta["unused"], list)
            or not isinstance(meta["dotted"], int)
        ):
            return False
        if (
            rows.dtype != ROW
            or rows.shape != (meta["count"],)
            or not all(isinstance(meta[n], int) for n in ("unlabelled", "classes"))
        ):
            return False
        ends = np.array([path.stat().st_size for path in shards], np.uint64)
        for start in range(0, len(rows), ROWS):
            some = np.asarray(rows[start : start + ROWS])
            inside = (
                some["shard"].max() < len(shards)
                and (some["offset"] < 2**62).all()
                and some["label"].max() < meta["classes"]
            )
            if not inside or (some["offset"] + some["size"] > ends[some["shard"]]).any():
                return False
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return False
    return len(rows) > 0


@functools.lru_cache(128)
def opened(path: Path, index: Path) -> io.FileIO:
    """A shard of an index. The caller keeps a reference while it reads: one that is dropped from the cache is
    closed without references."""
    return open(path, "rb", buffering=0)


class Members:
    """Loads the i-th image of shards. Sent to a worker process, it takes its paths along and not its
    index."""

    def __init__(self, shards: tuple[Path, ...], index: Path):
        self.shards, self.index = shards, index
        self.rows = np.load(index, mmap_mode="r")

    def __reduce__(self) -> tuple[type[Members], tuple[tuple[Path, ...], Path]]:
        return Members, (self.shards, self.index)

    def read(self, index: int) -> bytes:
        """The image's bytes as they were packed. Raises OSError where the shard was cut short since."""
        row = self.rows[index]
        path, size = self.shards[int(row["shard"])], int(row["size"])
        data = self.pread(path, size, int(row["offset"]))
        if len(data) != size:
            raise OSError(errno.EIO, f"{path} ends within an image; make or copy the shard again")
        return data

    def pread(self, path: Path, size: int, offset: int) -> bytes:
        """Read so many bytes at a place, whatever other threads read."""
        if not hasattr(os, "pread"):  # Windows
            with open(path, "rb") as own:
                own.seek(offset)
                return own.read(size)
        file = opened(path, self.index)
        return os.pread(file.fileno(), size, offset)

    def __call__(self, index: int) -> Image.Image:
        return read_image(io.BytesIO(self.read(index)), FORMATS)


class MemberNames(Sequence):
    """The i-th image's shard and name, looked up in the shard itself: names are for messages only."""

    def __init__(self, load: Members):
        self.load = load

    def __len__(self) -> int:
        return len(self.load.rows)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        row = self.load.rows[index]
        path = self.load.shards[int(row["shard"])]
        try:
            # the first field of the header before it
            name = self.load.pread(path, 100, max(0, int(row["offset"]) - BLOCK))
        except OSError:
            name = b""
        return (
            f"{printable(path.name)}:"
            f" {printable(name.partition(bytes(1))[0].decode('utf-8', 'surrogateescape'))}"
        )
