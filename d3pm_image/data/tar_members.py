"""Members of a tar shard in the webdataset layout: KEY.jpg, png or webp with KEY.cls or KEY.json beside it,
by position in the file.

Only headers and labels are read. Names in a shard are never paths: nothing is extracted, links are not
followed, and members that are neither an image nor a label (also pickles) are passed over unread. Sizes are
checked before anything of that size is read.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..config import ConfigError, check
from ..image_io import FORMATS as FORMATS
from ..printable import printable
from .unused import HIDDEN, OTHER, ending_of, group_of

IMAGES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm")
MAX_IMAGE, MAX_LABEL, MAX_HEADER = 2**28, 2**20, 2**20  # bytes
MAX_CLASSES = 1_000_000
BLOCK = tarfile.BLOCKSIZE
# the key ends at the first point of the last part, as in webdataset
KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
WAITING = 4096  # samples of one key that are held until it is known whether the key has an image of its own
ROW = np.dtype([("shard", "<u4"), ("size", "<u4"), ("offset", "<u8"), ("label", "<i8")])
"""An image of an index: number of its shard, bytes, place of its first byte, class or -1."""


class Headers:
    """A file as the tarfile module sees it: long reads, which only a damaged or hostile header asks for, are
    refused."""

    def __init__(self, path: Path, file: BinaryIO, total: int):
        self.path, self.file, self.total = path, file, total

    def read(self, size: int) -> bytes:
        """Read a header. Raises ConfigError where one asks for more than a header has."""
        hint = f"a header asks for {size} bytes; the shard is damaged: make it again"
        check(0 <= size <= MAX_HEADER, "data.root", str(self.path), hint)
        return self.file.read(size)

    def seek(self, place: int) -> int:
        """Go to a place. Raises ConfigError beyond the end of the shard."""
        hint = "cut short or damaged; make or copy it again"
        check(0 <= place <= self.total, "data.root", str(self.path), hint)
        return self.file.seek(place)

    def tell(self) -> int:
        """The present place in bytes."""
        return self.file.tell()


@dataclass
class Sample:
    """The image and the label under one name: everything before the last point."""

    name: str = ""
    size: int = 0
    offset: int = 0
    image: str = ""
    member: str = ""
    labels: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """Counts while shards are read.

    Args:
        alone: Keys that have a label and no image.
        dotted: Images that are named by more than their key, such as ``img.v2.jpg``.
        unused: (group, ending) → number of members that are not used.
        write: Gets a line for each of these.
    """

    alone: int = 0
    dotted: int = 0
    unused: Counter[tuple[str, str]] = field(default_factory=Counter)
    write: Callable[[str], object] = lambda line: None

    def skip(self, where: str, group: str, kind: str) -> None:
        """Count a member that is not used."""
        self.unused[group, kind] += 1
        self.write(f"{where}\t{group}")


class Group:
    """The members under one webdataset key, which ends at the first point: ``img.jpg``, ``img.cls``,
    ``img.v2.jpg``.

    An image named by the key alone is the key's image, and others (``img.seg.png``: a mask, say) belong to
    it. Where there is none, the first point is part of a name, and each image is a sample of its own, with
    the label of its own name, else the key's.
    """

    def __init__(self, key: str, path: Path, shard: int, tally: Tally):
        self.key, self.path, self.shard, self.tally = key, path, shard, tally
        self.samples: dict[str, Sample] = {}
        self.flushed = False

    def sample(self, name: str) -> Sample:
        """The sample of a name, new where there is none."""
        return self.samples.setdefault(name, Sample(name))

    def rows(self) -> Iterator[tuple]:
        """Rows of :data:`ROW`; the group is empty afterwards, but for the key's labels."""
        own = self.samples.get(self.key, Sample(self.key))
        single = bool(own.image) and not self.flushed
        images = [sample for sample in self.samples.values() if sample.image]
        for sample in images:
            if single and sample is not own:
                self.tally.skip(
                    f"{self.path}: {printable(sample.member)}",
                    OTHER,
                    "." + sample.member.rpartition("/")[2].partition(".")[2],
                )
                continue
            self.tally.dotted += sample is not own
            labels = own.labels | sample.labels
            yield self.shard, sample.size, sample.offset, labels.get("cls", labels.get("json", -1))
        self.tally.alone += (
            not images and not self.flushed and any(sample.labels for sample in self.samples.values())
        )
        self.samples = {self.key: Sample(self.key, labels=own.labels)}

    def overflow(self) -> Iterator[tuple]:
        """The rows of a key under which so many names came that they cannot all wait for its own image."""
        if len(self.samples) > WAITING and not self.samples.get(self.key, Sample()).image:
            yield from self.rows()
            self.flushed = True


def samples(
    path: Path, shard: int, use_labels: bool, class_names: tuple[str, ...], tally: Tally
) -> Iterator[tuple]:
    """The images of a shard as rows of :data:`ROW`, in the shard's order.

    Args:
        class_names: What labels in words mean; numbers must lie below their count, where there are any.
        tally: Counts what is not used.

    Raises:
        ConfigError: not a plain tar, damaged or cut short, an absurd size, a wrong label; names shard and
            member.
    """
    group = Group("", path, shard, tally)
    with open(path, "rb", buffering=0) as file:
        for member in members(path):
            found = KEY.fullmatch(member.name)
            name, _, kind = member.name.rpartition(".")
            kind = kind.lower()
            label = kind in ("cls", "json")
            if not found or not (label or kind in IMAGES):
                skip(member.name, path, tally)
                continue
            if label and not use_labels:
                continue
            if found[1] != group.key:
                yield from group.rows()
                group = Group(found[1], path, shard, tally)
            yield from group.overflow()
            where, size = f"{path}: {printable(member.name)}", member.size
            if label:
                hint = f"a label of {size} bytes; repair the shard, or set data.labels false"
                check(size <= MAX_LABEL, "data.root", where, hint)
                file.seek(member.offset_data)
                number = label_of(kind, file.read(size), class_names, where)
                group.sample(name).labels |= {} if number is None else {kind: number}
            else:
                sample = group.sample(name)
                twice = f"a second image of one key beside .{sample.image}; give it a key of its own"
                check(not sample.image, "data.root", where, twice)
                hint = f"an image of {size} bytes (at most {MAX_IMAGE}); leave it out"
                check(0 < size <= MAX_IMAGE, "data.root", where, hint)
                sample.image, sample.size, sample.offset, sample.member = (
                    kind,
                    size,
                    member.offset_data,
                    member.name,
                )
    yield from group.rows()


def skip(name: str, path: Path, tally: Tally) -> None:
    """Count a member that is neither an image that can be read nor a label."""
    last = name.rpartition("/")[2]
    where, group = f"{path}: {printable(name, 0)}", group_of(last)
    if group == HIDDEN:
        tally.skip(where, HIDDEN, "._* of macOS" if last.startswith("._") else last[:40])
    else:
        tally.skip(where, group, ending_of(last)[:20])


def members(path: Path) -> Iterator[tarfile.TarInfo]:
    """Headers of the plain files in a shard, one at a time. Raises ConfigError where it is not whole."""
    total = path.stat().st_size
    again = "make or copy it again"
    try:
        with open(path, "rb") as file:
            headers = Headers(path, file, total)
            archive = tarfile.TarFile(fileobj=headers)  # type: ignore[arg-type]
            member, before = archive.next(), -1
            while member is not None:
                # fields of a header are the sender's word: places must move on, and lie within the file
                sound = (
                    member.size >= 0 and archive.offset > before and member.offset_data + member.size <= total
                )
                hint = f"cut short or damaged at {printable(member.name)}; {again}"
                check(sound, "data.root", str(path), hint)
                if member.isreg() and not member.issparse():
                    yield member
                before = archive.offset
                archive.members.clear()  # type: ignore[attr-defined]  # a list in fact, which would keep every header
                member = archive.next()
            headers.seek(archive.offset)  # tarfile takes any broken header for the end
            whole = headers.read(BLOCK) == bytes(BLOCK)
            hint = f"cut short or damaged: {archive.offset} of {total} bytes can be read; {again}"
            check(whole, "data.root", str(path), hint)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError) as error:
        if isinstance(error, ConfigError):
            raise
        packed = "; shards must be plain tar, not compressed" if is_compressed(path) else f"; {again}"
        raise ConfigError("data.root", str(path), f"not a whole tar file ({error}){packed}") from error


def is_compressed(path: Path) -> bool:
    """Whether a file begins as gzip, bzip2, xz or zstandard do."""
    with open(path, "rb") as file:
        return file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))


def label_of(kind: str, text: bytes, class_names: tuple[str, ...], where: str) -> int | None:
    """The class in a .cls or .json member: a number, or a name from ``class_names``; None if JSON has no
    ``label`` or ``cls``.

    Raises:
        ConfigError: neither.
    """
    hint = "no class number; repair the shard, or set data.labels false"
    if kind == "json":
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            hint = f"not JSON ({type(error).__name__}); repair the shard, or set data.labels false"
            check(False, "data.root", where, hint)
        value = raw.get("label", raw.get("cls")) if isinstance(raw, dict) else None
        if value is None:
            return None
    else:
        value = text.strip().decode("utf-8", "replace")
        value = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value
    if isinstance(value, str):
        hint = f"class {value[:40]!r} is {hint}, or list the names in classnames.txt, one per line"
        check(value in class_names, "data.root", where, hint)
        return class_names.index(value)
    number = isinstance(value, int) and not isinstance(value, bool)
    hint = f"{str(value)[:40]} is {hint}"
    check(number and 0 <= value < (len(class_names) or MAX_CLASSES), "data.root", where, hint)
    return value
