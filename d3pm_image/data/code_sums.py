"""Checksums of a code cache: files of the right shape with wrong codes are found before training.

``meta.json`` holds the SHA-256 of every other file. Up to :data:`READ_EACH_TIME` bytes all of them are read
at every start. A larger cache is read as a whole once. The result is recorded beside it
(``.KEY.verified.json``) with the files' sizes, times of change and times of status change, and a file is read
again when one of these changes. Caches of versions without checksums are not compared.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..documents import Missing, Unreadable, read_json
from ..storage import sha256, write_text

READ_EACH_TIME = 2**30
"""Largest size in bytes of a cache that is read as a whole at each start."""
MAX_META = 2**26
"""Largest size of meta.json in bytes: a hundred thousand files and as many class names."""
DAMAGED = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
)
"""What reading a damaged cache raises. Other errors of the system (no permission, a failing disk) are not
damage, and end the command."""


def read_meta(place: Path) -> dict[str, Any]:
    """``meta.json`` of a cache. Raises one of :data:`DAMAGED` if it is missing or not a dictionary."""
    try:
        meta = read_json(place / "meta.json", MAX_META)
    except Unreadable as error:
        if isinstance(error.__cause__, OSError) and not isinstance(error, Missing):
            raise error.__cause__ from None
        raise
    if not isinstance(meta, dict):
        raise ValueError("meta.json is not a dictionary")
    return meta


def write_sums(place: Path, names: Iterable[str]) -> None:
    """Add the checksums of some files to ``meta.json``."""
    meta = read_meta(place) | {"sha256": {name: sha256(place / name) for name in names}}
    write_text(place / "meta.json", json.dumps(meta, indent=1))


def wrong_sums(place: Path, names: list[str]) -> list[str]:
    """Those of the existing files whose contents do not match ``meta.json``; ``meta.json`` itself if it lacks
    some.

    Raises:
        OSError: a file cannot be read.
    """
    meta = read_meta(place)
    if "sha256" not in meta:
        return []
    sums = meta["sha256"]
    if not isinstance(sums, dict) or not all(isinstance(sums.get(name), str) for name in names):
        return ["meta.json"]
    stamps = {name: stamp(place / name) for name in names}
    large = sum(size for size, *_ in stamps.values()) > READ_EACH_TIME
    note = place.with_name(f".{place.name}.verified.json")
    known = read_note(note) if large else {}
    right = {name: [sums[name], *stamps[name]] for name in names}
    again = [name for name in names if known.get(name) != right[name]]
    wrong = [name for name in again if sha256(place / name) != sums[name]]
    if large and again:
        with contextlib.suppress(OSError):  # if the folder cannot be written, files are read again next time
            write_text(note, json.dumps({name: value for name, value in right.items() if name not in wrong}))
    return wrong


def stamp(path: Path) -> list[int]:
    """Size and times of a file."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def read_note(note: Path) -> dict[str, Any]:
    """Files that were read and found right; empty if the record cannot be read."""
    try:
        known = read_json(note, MAX_META)
    except Unreadable:
        return {}
    return known if isinstance(known, dict) else {}
