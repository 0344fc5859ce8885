"""Safe reading of small JSON, YAML and text files: only regular files, of limited size and depth, with
one-line errors.

A file may be a pipe that never answers, a link to /dev/zero, a YAML file of ten lines that expands to a
billion values, or text as Windows writes it. Reading it here gives its value, or raises :class:`Unreadable`
with the reason.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .printable import printable

MB = 2**20
BLOCK = 1 << 16
LARGEST_JSON = 16 * MB
LARGEST_YAML = MB
DEEPEST = 200
"""Nesting of JSON and YAML values; each model that starts from another model nests one level more."""
MOST_VALUES = 100_000
"""Values of a YAML file, an alias counted as all that it stands for."""
LFS = b"version https://git-lfs"


class Unreadable(ValueError):
    """A file that cannot be used; the message names it and the reason in one line."""

    def __init__(self, path: Path | None, reason: str):
        super().__init__(f"{printable(path.name)} {reason}" if path else reason)
        self.reason = reason


class Missing(Unreadable):
    """There is no such file."""


def check_regular(path: Path, largest: int | None = None) -> None:
    """Check that a file exists, may be read, is a regular one (links are followed) and not too large, without
    opening it otherwise.

    Raises:
        Missing: it is not there. Unreadable: anything else.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise Unreadable(path, "cannot be read (it is a folder)")
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable(path, "cannot be read (it is a pipe, a device or a socket, not a regular file)")
        if largest is not None and found.st_size > largest:
            raise Unreadable(path, f"cannot be read (it is larger than {largest // MB} MB)")
        os.close(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> Unreadable:
    """An error of the system in words: missing, no permission, or what the system says."""
    loops = error.errno == errno.ELOOP  # a link that leads to itself
    if loops or isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return Missing(path, "is missing")
    if isinstance(error, PermissionError):
        return Unreadable(
            path, "may not be read by this user (no permission); ask its owner for the right to read it"
        )
    return Unreadable(path, f"cannot be read ({error.strerror or error})")


def read_text(path: Path, largest: int = LARGEST_JSON) -> str:
    """A UTF-8 text file, with or without byte-order mark.

    Raises:
        Missing, Unreadable: see :func:`check_regular`; or it is other text.
    """
    check_regular(path, largest)
    try:
        data = bytearray()
        with open(path, "rb") as file:
            # not by its size, because a file may grow or report a wrong size; and not with one read of the
            # limit, which would allocate it at once
            while len(data) <= largest and (piece := file.read(BLOCK)):
                data += piece
    except OSError as error:
        raise unreadable(path, error) from error
    if len(data) > largest:
        raise Unreadable(path, f"cannot be read (it is larger than {largest // MB} MB)")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise Unreadable(path, "cannot be read (it is UTF-16 or UTF-32 text, or no text); save it as UTF-8")
    if data.startswith(LFS):
        raise Unreadable(
            path,
            "cannot be read (it is a Git LFS pointer, not the file itself); fetch it with 'git lfs pull'",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(
            path, f"cannot be read (not UTF-8 text: byte {error.start}); save it as UTF-8"
        ) from error


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """A JSON file's value.

    Raises:
        Missing, Unreadable: see :func:`read_text`; or it is not JSON, or nested too deeply.
    """
    text = read_text(path, largest)
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise Unreadable(path, f"cannot be read (nested more than {DEEPEST} levels deep)") from error
    except ValueError as error:
        raise Unreadable(path, f"cannot be read (not valid JSON: {printable(error)})") from error
    if deeper_than(value, DEEPEST):
        raise Unreadable(path, f"cannot be read (nested more than {DEEPEST} levels deep)")
    return value


def deeper_than(value: Any, most: int) -> bool:
    """Whether lists and dictionaries are nested more than so many levels deep."""
    level = [value]
    for _ in range(most + 1):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in members(outer)]
        if not level:
            return False
    return True


def members(value: dict[Any, Any] | list[Any]) -> Iterator[Any]:
    """Values of a dictionary, or of a list."""
    return iter(value.values() if isinstance(value, dict) else value)


def read_yaml(path: Path, largest: int = LARGEST_YAML) -> Any:
    """A YAML file's value.

    Raises:
        Missing, Unreadable: see :func:`read_text` and :func:`check_yaml`.
    """
    import yaml

    text = read_text(path, largest)
    try:
        check_yaml(text)
        return yaml.safe_load(text)
    except Unreadable as error:
        raise Unreadable(path, f"cannot be read ({error.reason})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2026-13-45 is a ValueError
        raise Unreadable(path, f"is not valid YAML ({printable(' '.join(str(error).split()))})") from error


def check_yaml(text: str) -> None:
    """Refuse YAML that would take unbounded memory or lose a value silently, before anything is built from
    it.

    Raises:
        Unreadable: nested too deeply, aliases that expand to too many values or contain themselves, or a key
            given twice.
        YAMLError: not YAML.
    """
    import yaml

    sizes: dict[str, int] = {}
    levels = [_Level("", False)]
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise Unreadable(
                    None, f"the alias {printable(event.anchor)} stands inside what it stands for"
                )
            levels[-1].add(sizes[event.anchor])
        elif isinstance(event, yaml.ScalarEvent):
            levels[-1].add(1, event.value)
            sizes[event.anchor or ""] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            levels.append(_Level(event.anchor or "", isinstance(event, yaml.MappingStartEvent)))
            if len(levels) > DEEPEST:
                raise Unreadable(None, f"nested more than {DEEPEST} levels deep")
            sizes.pop(event.anchor or "", None)  # the name is that of the new value from here on
        elif isinstance(event, yaml.CollectionEndEvent):
            done = levels.pop()
            sizes[done.anchor] = done.values
            levels[-1].add(done.values)
        if levels[-1].values > MOST_VALUES:
            raise Unreadable(None, f"it stands for more than {MOST_VALUES} values")


class _Level:
    """A list or mapping that is being read: its number of values, and the keys so far."""

    def __init__(self, anchor: str, mapping: bool):
        self.anchor, self.mapping, self.values, self.entries = anchor, mapping, 1, 0
        self.keys: set[str] = set()

    def add(self, values: int, key: str | None = None) -> None:
        """Count an entry; in a mapping every other one is a key."""
        if self.mapping and self.entries % 2 == 0 and key is not None:
            if key in self.keys:
                raise Unreadable(None, f"the key {printable(key)} is given twice")
            self.keys.add(key)
        self.entries += 1
        self.values += values
