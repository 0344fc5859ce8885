"""Files that commands write: an existing file is replaced only with ``overwrite``; otherwise the next free
number is used.

A result is written in a hidden folder beside its place and gets its name when it is complete. The name is
taken in one step that fails if another program took it first, so that two programs at once never share one.
"""

from __future__ import annotations

import os
import sys
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from .errors import check
from .printable import printable
from .storage import LONGEST_NAME, write_text


def folder_to_write(folder: str | Path, name: str = "out") -> Path:
    """A folder that exists or can be made, with ``~`` expanded; nothing is made yet.

    Args:
        name: The field or argument that named it, for the message.

    Raises:
        ConfigError: no path, or it or a folder above it is a file (a device, a pipe) or a link to nothing.
    """
    hint = "name a folder; . is the current one"
    check(isinstance(folder, str | os.PathLike) and str(folder) != "", name, folder, hint)
    place = Path(folder).expanduser()
    there = next((one for one in (place, *place.parents) if os.path.lexists(one)), Path())
    what = "" if there == place else f"{there} "
    hint = f"{what}is a file, or a link to a folder that is not there; name a folder"
    check(there.is_dir(), name, str(folder), hint)
    return place


@dataclass
class NewFiles:
    """Files of one result.

    Args:
        drafts: Where to write them.
        paths: Their final names, valid after the block.
    """

    drafts: list[Path] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    @property
    def draft(self) -> Path:
        """Where to write the first one."""
        return self.drafts[0]

    @property
    def path(self) -> Path:
        """Name of the first one."""
        return self.paths[0]


def added(path: Path, words: str, suffix: str | None = None) -> Path:
    """A path with words behind its stem; the stem of a very long name is cut so that a file system takes it.

    Args:
        suffix: Another ending; None keeps the path's own.
    """
    ending, stem = words + (path.suffix if suffix is None else suffix), path.stem.replace("\\", "_")
    while stem and len(os.fsencode(stem + ending)) > LONGEST_NAME:
        stem = stem[:-1]
    return path.with_name(stem + ending)


def numbered(path: Path, number: int) -> Path:
    """``grid.png`` for number 1, then ``grid-2.png``, ``grid-3.png``, …"""
    return path if number == 1 else added(path, f"-{number}")


def name_part(text: str, longest: int = 60) -> str:
    """A text, such as the name of a class, as part of a file name that every file system accepts: letters,
    digits, ``-`` and ``_``."""
    text = unicodedata.normalize("NFC", text)
    name = "".join(c if unicodedata.category(c)[0] in "LMN" or c in "-_" else "_" for c in text)
    while len(name.encode("utf-8", "replace")) > longest:
        name = name[:-1]
    return name


def alone(path: Path) -> list[Path]:
    """The files of a result that is one file."""
    return [path]


@contextmanager
def new_files(
    path: Path, overwrite: bool = False, members: Callable[[Path], list[Path]] = alone
) -> Iterator[NewFiles]:
    """Write files at ``drafts``; when the block ends, they are at ``paths``, and no existing file is lost.

    Args:
        path: Wanted name.
        overwrite: Replace existing files.
        members: All files of a result by its name, which get one free number together. Those that the block
            does not write are left out.

    Raises:
        ConfigError: it would lie below a file. OSError: the folder cannot be written.
    """
    path = path if path.name not in ("", "..") else path.resolve()
    folder_to_write(path.parent).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder:
        numbers = iter((1,)) if overwrite else free_numbers(path, members)
        paths = members(numbered(path, next(numbers)))
        files = NewFiles([Path(folder, one.name) for one in paths], paths)
        yield files
        written = [draft.exists() for draft in files.drafts]
        while True:
            pairs = [
                pair
                for pair, there in zip(zip(files.drafts, files.paths, strict=True), written, strict=True)
                if there
            ]
            if moved(pairs, overwrite):
                return
            files.paths = members(numbered(path, next(numbers)))


@contextmanager
def new_folder(path: Path) -> Iterator[NewFiles]:
    """The same for a whole folder, made by the block at ``draft``; an existing empty folder may be used."""
    path = path if path.name not in ("", "..") else path.resolve()
    folder_to_write(path.parent).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder:
        files = NewFiles([Path(folder, path.name)], [path])
        yield files
        for number in count(1):
            files.paths = [numbered(path, number)]
            try:
                # fails where there is a file, or a folder that is not empty
                os.rename(files.draft, files.path)
            except OSError:
                if not os.path.lexists(files.path):
                    raise
            else:
                return


def free_numbers(path: Path, members: Callable[[Path], list[Path]]) -> Iterator[int]:
    """Numbers under which none of a result's files exists."""
    for number in count(1):
        if not any(os.path.lexists(one) for one in members(numbered(path, number))):
            yield number


def moved(pairs: list[tuple[Path, Path]], overwrite: bool) -> bool:
    """Move all drafts to their names; False, without effect, if a name is taken."""
    done: list[tuple[Path, Path]] = []
    for draft, path in pairs:
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            os.replace(draft, path)
            continue
        try:
            move_new(draft, path)
        except FileExistsError:
            for old, new in done:
                os.replace(new, old)
            return False
        done.append((draft, path))
    return True


def move_new(draft: Path, path: Path) -> None:
    """Rename a file. Raises FileExistsError if the new name is taken, in one step with the check."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: claim the name, then put the file there
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.replace(draft, path)
        except OSError:
            path.unlink(missing_ok=True)
            raise
    else:
        draft.unlink()


def write_report(path: str, overwrite: bool, text: str, what: str) -> None:
    """Write measures or findings as a file and print its path on stderr."""
    with new_files(Path(path), overwrite) as files:
        write_text(files.draft, text + "\n")
    print(f"{what}: {printable(files.path, 0)}", file=sys.stderr)
