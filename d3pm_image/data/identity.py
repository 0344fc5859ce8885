"""Identity of a data set: by names and contents, not by the times of its files.

A set's fingerprint is a hash over the name and the SHA-256 of every file, so a copy with other times is the
same set, and one with an edited file is a different one, whatever its size and time. All bytes are read once.
The result is recorded in the cache folder with the files' paths, sizes, times of change and times of status
change (which no program can set), and used while these stay the same. Only ``doctor`` always reads the files
again. Sets over :data:`READ_AT_MOST` bytes are identified by names, sizes and times, as all were in versions
that read no contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..documents import Unreadable, read_json
from ..storage import sha256, write_text

READ_AT_MOST = 2**38
"""Bytes (256 GiB): reading more before the first step takes too long."""
SHOWN_FROM = 2**30
"""Bytes from which the reading has a progress bar."""
READERS = 8
MAX_NOTE = 1000
"""Bytes of a note of contents."""
ANEW: ContextVar[bool] = ContextVar("ANEW", default=False)


@dataclass(frozen=True)
class Identity:
    """Hex digests of a set.

    Args:
        fingerprint: Names and contents; for a set that is too large to be read, the same as ``former``.
        former: Names, sizes and times: what versions that read no contents recorded as the fingerprint.
        files: Names and sizes.
        contents: Contents alone, without names; empty if they were not read.
    """

    fingerprint: str
    former: str = ""
    files: str = ""
    contents: str = ""

    def part(self, chosen: bytes) -> Identity:
        """The same digests for the images in ``chosen``."""
        digests = (self.fingerprint, self.former, self.files, self.contents)
        return Identity(*(hashlib.sha256(d.encode() + chosen).hexdigest() if d else "" for d in digests))


@contextlib.contextmanager
def read_again() -> Iterator[None]:
    """Within this block the contents of files are read without using or writing records."""
    before = ANEW.set(True)
    try:
        yield
    finally:
        ANEW.reset(before)


def identify(
    paths: Sequence[Path],
    names: Sequence[str],
    former: Callable[[Sequence[os.stat_result]], str],
    cache: Path,
    more: bytes = b"",
) -> Identity:
    """Digests of a set of files.

    Args:
        names: A name per path, relative to the set's root.
        former: Statuses of the files → the fingerprint of versions that read no contents.
        cache: Folder for the note of contents.
        more: What else tells this set from others, such as names of classes.

    Raises:
        OSError: a file cannot be read.
    """
    stats = [os.stat(path) for path in paths]
    plain = [name.replace(os.sep, "/").encode("utf-8", "surrogateescape") for name in names]
    files = hashlib.sha256(more)
    for name, stat in zip(plain, stats, strict=True):
        files.update(b"%b\0%d\n" % (name, stat.st_size))
    stamp = former(stats)
    if sum(stat.st_size for stat in stats) > READ_AT_MOST:
        return Identity(stamp, stamp, files.hexdigest())
    ordered, contents = contents_of(paths, stats, cache)
    whole = hashlib.sha256(f"contents {files.hexdigest()} {ordered}".encode()).hexdigest()
    return Identity(whole, stamp, files.hexdigest(), contents)


def stamp_of(names: Sequence[str | Path], stats: Sequence[os.stat_result], more: bytes = b"") -> str:
    """Hex digest of names, sizes and times of files, and of what else tells a set from others."""
    stamp = hashlib.sha256()
    for name, stat in zip(names, stats, strict=True):
        stamp.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    stamp.update(more)
    return stamp.hexdigest()


def contents_of(paths: Sequence[Path], stats: Sequence[os.stat_result], cache: Path) -> tuple[str, str]:
    """Hex digests of the files' contents, in their order and whatever their order, from the note in ``cache``
    where no file has changed since it was written."""
    key = hashlib.sha256()
    for path, stat in zip(paths, stats, strict=True):
        name = os.fsencode(os.path.abspath(path))
        key.update(b"%b\0%d\0%d\0%d\n" % (name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    note = cache / "contents" / f"{key.hexdigest()[:32]}.json"
    if not ANEW.get() and (noted := read_note(note)):
        return noted
    digests = read_all(paths, stats)
    found = tuple(hashlib.sha256(b"".join(some)).hexdigest() for some in (digests, sorted(digests)))
    if not ANEW.get():
        # a cache folder that cannot be written only costs the reading again
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(
                note, json.dumps({"ordered": found[0], "contents": found[1], "sha256": own_sum(found)})
            )
    return found[0], found[1]


def own_sum(digests: Sequence[str]) -> str:
    """What tells a damaged note from a sound one."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def read_note(note: Path) -> tuple[str, str] | None:
    """What a note holds; None where it is not there or damaged."""
    try:
        raw = read_json(note, MAX_NOTE)
        found = (raw["ordered"], raw["contents"])
        return found if own_sum(found) == raw["sha256"] else None
    except (Unreadable, KeyError, TypeError):
        return None


def read_all(paths: Sequence[Path], stats: Sequence[os.stat_result]) -> list[bytes]:
    """SHA-256 of every file, read by several threads, with a progress bar if there is much to read."""
    total = sum(stat.st_size for stat in stats)
    quiet = total < SHOWN_FROM or os.environ.get("RANK", "0") != "0"
    with (
        ThreadPoolExecutor(READERS) as pool,
        tqdm(
            total=total,
            desc="reading the images once",
            unit="B",
            unit_scale=True,
            disable=quiet,
            leave=False,
            file=sys.stderr,
        ) as bar,
    ):
        digests = []
        for digest, stat in zip(pool.map(sha256, paths), stats, strict=True):
            digests.append(bytes.fromhex(digest))
            bar.update(stat.st_size)
    return digests


def shared_images(root: str, val_root: str, train: Identity, held_out: Identity) -> str:
    """The problem of a folder of held-out images that has training images; empty if there is none.

    Args:
        train, held_out: Digests of all that was found in the two places.
    """
    here, there = (Path(os.path.realpath(Path(place).expanduser())) for place in (root, val_root))
    if here == there:
        return "is data.root itself, so training and validation use the same images"
    if train.contents and train.contents == held_out.contents:
        return "holds the same images as data.root, so training and validation use the same images"
    if here in there.parents:
        return "lies in data.root, so training uses all validation images"
    if there in here.parents:
        return "holds data.root, so training uses some of the validation images"
    return ""
