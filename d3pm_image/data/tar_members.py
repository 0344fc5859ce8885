"""What a tar shard in the webdataset layout holds: KEY.jpg, png or webp with KEY.cls or KEY.json beside it, by place in the file.

Only headers and labels are read. Names in a shard are never paths: nothing is extracted, links are not followed, and members that are
neither a picture nor a label (also pickles) are passed over unread. Sizes are checked before anything of that size is read.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..config import ConfigError, need

PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm")
MAX_PICTURE, MAX_LABEL, MAX_HEADER = 2**28, 2**20, 2**20  # bytes
MAX_CLASSES = 1_000_000
BLOCK = tarfile.BLOCKSIZE
KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)  # the key ends at the first point of the last part, as in webdataset
ROW = np.dtype([("shard", "<u4"), ("size", "<u4"), ("offset", "<u8"), ("label", "<i8")])
"""A picture of an index: number of its shard, bytes, place of its first byte, class or -1."""


class Headers:
    """A file as the tarfile module sees it: long reads, which only a damaged or hostile header asks for, are refused."""

    def __init__(self, path: Path, file: BinaryIO, total: int):
        self.path, self.file, self.total = path, file, total

    def read(self, size: int) -> bytes:
        """Read a header. Raises ConfigError where one asks for more than a header has."""
        need(0 <= size <= MAX_HEADER, "data.root", str(self.path), f"a header asks for {size} bytes; the shard is damaged: make it again")
        return self.file.read(size)

    def seek(self, place: int) -> int:
        """Go to a place. Raises ConfigError beyond the end of the shard."""
        need(0 <= place <= self.total, "data.root", str(self.path), "cut short or damaged; make or copy it again")
        return self.file.seek(place)

    def tell(self) -> int:
        """The present place in bytes."""
        return self.file.tell()


@dataclass
class Sample:
    """The picture and the label under one key."""

    key: str = ""
    size: int = 0
    offset: int = 0
    picture: str = ""
    labels: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> int:
        """KEY.cls before KEY.json; -1 without either."""
        return self.labels.get("cls", self.labels.get("json", -1))


def samples(path: Path, shard: int, use_labels: bool, class_names: tuple[str, ...], count: dict[str, int]) -> Iterator[tuple]:
    """The pictures of a shard as rows of :data:`ROW`, in the shard's order.

    Args:
        class_names: What labels in words mean; numbers must lie below their count, where there are any.
        count: Gets, under ``without picture``, the number of keys that have a label alone.

    Raises:
        ConfigError: not a plain tar, damaged or cut short, an absurd size, a wrong label; names shard and member.
    """
    sample = Sample()
    with open(path, "rb", buffering=0) as file:
        for member in members(path):
            found = KEY.fullmatch(member.name)
            kind = found[2].lower() if found else ""
            label = use_labels and kind in ("cls", "json")
            if not found or not (label or kind in PICTURES):
                continue
            if found[1] != sample.key:
                yield from finished(sample, shard, count)
                sample = Sample(found[1])
            where, size = f"{path}: {printable(member.name)}", member.size
            if label:
                need(size <= MAX_LABEL, "data.root", where, f"a label of {size} bytes; mend the shard, or set data.labels false")
                file.seek(member.offset_data)
                number = label_of(kind, file.read(size), class_names, where)
                sample.labels |= {} if number is None else {kind: number}
            else:
                twice = f"a second picture of one key beside .{sample.picture}; give it a key of its own"
                need(not sample.picture, "data.root", where, twice)
                need(0 < size <= MAX_PICTURE, "data.root", where, f"a picture of {size} bytes (at most {MAX_PICTURE}); leave it out")
                sample.picture, sample.size, sample.offset = kind, size, member.offset_data
    yield from finished(sample, shard, count)


def finished(sample: Sample, shard: int, count: dict[str, int]) -> Iterator[tuple]:
    """The entry of a sample whose members were all seen, if it has a picture; others are counted."""
    if sample.picture:
        yield shard, sample.size, sample.offset, sample.label
    elif sample.key:
        count["without picture"] += 1


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
                sound = member.size >= 0 and archive.offset > before and member.offset_data + member.size <= total
                need(sound, "data.root", str(path), f"cut short or damaged at {printable(member.name)}; {again}")
                if member.isreg() and not member.issparse():
                    yield member
                before = archive.offset
                archive.members.clear()  # type: ignore[attr-defined]  # a list in fact, which would keep every header
                member = archive.next()
            headers.seek(archive.offset)  # tarfile takes any broken header for the end
            whole = headers.read(BLOCK) == bytes(BLOCK)
            need(whole, "data.root", str(path), f"cut short or damaged: {archive.offset} of {total} bytes can be read; {again}")
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
    """The class in a .cls or .json member: a number, or a name out of ``class_names``; None where JSON has no ``label`` or ``cls``.

    Raises:
        ConfigError: neither.
    """
    mend = "no class number; mend the shard, or set data.labels false"
    if kind == "json":
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            need(False, "data.root", where, f"no JSON ({type(error).__name__}); mend the shard, or set data.labels false")
        value = raw.get("label", raw.get("cls")) if isinstance(raw, dict) else None
        if value is None:
            return None
    else:
        value = text.strip().decode("utf-8", "replace")
        value = int(value) if re.fullmatch(r"[0-9]{1,9}", value) else value
    if isinstance(value, str):
        need(value in class_names, "data.root", where, f"class {value[:40]!r} is {mend}, or list the names in classnames.txt, one a line")
        return class_names.index(value)
    number = isinstance(value, int) and not isinstance(value, bool)
    need(number and 0 <= value < (len(class_names) or MAX_CLASSES), "data.root", where, f"{str(value)[:40]} is {mend}")
    return value


def printable(name: str) -> str:
    """A member's name for messages."""
    return "".join(c if c.isprintable() else "?" for c in name[-100:])
