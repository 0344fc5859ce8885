"""The image files below a folder, nested or flat, links to folders included, and the other files there.

Each real folder is read once: a link that leads back, or to a folder that is read already, is reported and
not followed. Folders of programs and systems (hidden ones, thumbnails, checkpoints of notebooks) have copies,
not data; they are not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..image_io import image_endings
from .unused import FOLDERS, HIDDEN, LINKS, Unused, ending_of, group_of

KEPT_BY_PROGRAMS = frozenset(
    (
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "__macosx",
        "__pycache__", "lost+found",
        "network trash folder", "recycler", "system volume information", "temporary items",
    )
)  # fmt: skip
"""Folders that are not part of the data, in small letters; and those whose names begin with a point."""
ALSO_KEPT = frozenset(("Thumbs",))
"""The same, in this spelling alone: ``thumbs`` may be a class."""


@dataclass(frozen=True)
class Listing:
    """Files below a folder.

    Args:
        files: Files with an ending of an image that can be read, relative to the folder, sorted.
        unused: Everything else.
    """

    files: list[Path]
    unused: Unused


def is_kept_by_programs(name: str) -> bool:
    """Whether a folder of this name is not part of the data."""
    return name.startswith(".") or name.lower() in KEPT_BY_PROGRAMS or name in ALSO_KEPT


def list_images(root: Path) -> Listing:
    """Image files below ``root``.

    Raises:
        OSError: a folder that cannot be read.
    """
    endings = image_endings()
    files: list[Path] = []
    other: list[tuple[str, str, str]] = []
    place = root.resolve()
    seen = {identity(folder) for folder in (place, *place.parents)}
    todo: list[Path] = [Path()]
    links: list[Path] = []
    while todo or links:
        if not todo:  # links last, so that a folder is named by where it lies and not by a link to it
            # class folders before links inside them
            links.sort(key=lambda path: (len(path.parts), path), reverse=True)
        here = todo.pop() if todo else links.pop()
        if here.parts:
            if identity(root / here) in seen:
                other.append((str(here), LINKS, here.name))
                continue
            seen.add(identity(root / here))
        with os.scandir(root / here) as entries:
            for entry in entries:
                kind, path = kind_of(entry), here / entry.name
                if kind in ("folder", "link") and is_kept_by_programs(entry.name):
                    other.append((str(path), FOLDERS, entry.name))
                elif kind == "folder":
                    todo.append(path)
                elif kind == "link":
                    links.append(path)
                elif kind == "nothing":
                    other.append((str(path), LINKS, entry.name))
                elif entry.name.startswith("."):
                    name = "._* of macOS" if entry.name.startswith("._") else entry.name
                    other.append((str(path), HIDDEN, name))
                elif ending_of(entry.name) in endings:
                    files.append(path)
                else:
                    other.append((str(path), group_of(entry.name), ending_of(entry.name)))
    return Listing(sorted(files), Unused().plus(sorted(other)))


def identity(path: Path) -> tuple[int, int]:
    """Identity of a folder, independent of its name."""
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def kind_of(entry: os.DirEntry[str]) -> str:
    """``file``, ``folder``, ``link`` (to a folder), or ``nothing``: a link without a goal, a pipe, a socket
    or a device."""
    try:
        if entry.is_dir():
            return "link" if entry.is_symlink() else "folder"
        return "file" if entry.is_file() else "nothing"
    except OSError:  # links in a circle
        if entry.is_symlink():
            return "nothing"
        raise
