"""The page's temporary folder, locked while the page runs, and removed when it ends, by itself or by the next
page.

d3pm-image-app-XXXXXXXX/lock     held while the page runs; the kernel releases it however the page ends
d3pm-image-app-XXXXXXXX/files/   uploads and results; the only files that are served
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..locks import file_lock, locked_folder
from .files import KEPT_S

PREFIX = "d3pm-image-app-"
MOST_BYTES = 2 << 30
"""Largest size of all files in the folder; above it the oldest are removed before their hour is over."""


@contextmanager
def page_folder() -> Iterator[Path]:
    """A new folder for the files of a page, removed at the end; folders of killed pages are removed first."""
    remove_dead()
    with ExitStack() as held:
        place = locked_folder(held, "lock", prefix=PREFIX)
        (place / "files").mkdir()
        try:
            yield place / "files"
        finally:
            remove(place)


def remove_dead() -> None:
    """Remove the folders of this user's pages that no longer run."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # Locked: it lives; others: it is not ours, or just gone
            if is_own_folder(place) and (place / "lock").is_file():
                with file_lock(place / "lock"):
                    remove(place)
            elif is_own_folder(place) and time.time() - newest(place) > 24 * KEPT_S:
                remove(place)  # of a version that held no lock


def is_own_folder(place: Path) -> bool:
    """Whether a path is a folder, no link to one, of this user."""
    state = place.lstat()
    return stat.S_ISDIR(state.st_mode) and (not hasattr(os, "getuid") or state.st_uid == os.getuid())


def newest(place: Path) -> float:
    """When something in a folder last changed."""
    return max((path.lstat().st_mtime for path in [place, *place.rglob("*")]), default=0.0)


def remove(place: Path) -> None:
    """Remove a folder; again if a thread that still draws put something into it meanwhile."""
    for _ in range(20):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
        time.sleep(0.05)


def sweep(folder: Path, known: Iterable[set[str]] = (), most: int = MOST_BYTES) -> None:
    """Remove files older than an hour, and the oldest until the rest is not larger than ``most``.

    Args:
        known: Sets of paths; those of files that are gone are taken out.
    """
    files = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            state = path.lstat()
            if not stat.S_ISDIR(state.st_mode):
                files.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in files)
    for changed, size, path in sorted(files):
        if time.time() - changed <= KEPT_S and total <= most:
            break
        total -= size
        with suppress(OSError):
            path.unlink()
        with suppress(OSError):
            path.parent.rmdir()  # only if it is empty
    for paths in known:
        paths -= {path for path in list(paths) if not os.path.exists(path)}
