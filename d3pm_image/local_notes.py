"""What the user of this machine named before, noted in the cache folder: where a model lies, and which
folders of images were trained on.

Neither belongs into files that are given away. PNGs name their model without the path to it, and ``show
--again`` finds it here by its weights; a model names the folder that it was trained on, and ``evaluate``
reads it without being asked only where it was named here.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from .cache_folder import cache_root
from .documents import Unreadable, read_text
from .storage import write_text


def note_model(model: str | Path, weights_sha256: str) -> None:
    """Note where the model with these weights lies; a shipped name or a hub id is not a place. A cache that
    cannot be written is not an error."""
    with suppress(OSError, RuntimeError):  # RuntimeError: nobody's home is known
        place = Path(model).expanduser()
        if place.is_dir():
            note = cache_root() / "models" / f"{weights_sha256}.txt"
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(note, str(place.resolve()))


def noted_model(weights_sha256: str) -> Path | None:
    """Where a model with these weights lay when it was last used, if it is still there."""
    digest = weights_sha256 if weights_sha256.isalnum() else ""
    with suppress(OSError, RuntimeError, Unreadable):
        place = Path(read_text(cache_root() / "models" / f"{digest}.txt"))
        return place if place.is_dir() else None
    return None


def note_folder(folder: str) -> None:
    """Note that the user named a folder of images, or shards; empty is none. A cache that cannot be written
    is not an error."""
    if folder:
        with suppress(OSError, RuntimeError):
            note = _note_of(folder)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()


def is_noted(folder: str) -> bool:
    """Whether the user named this folder of images before."""
    with suppress(OSError, RuntimeError):
        return _note_of(folder).is_file()
    return False


def _note_of(folder: str) -> Path:
    place = str(Path(folder).expanduser().resolve())
    return cache_root() / "folders" / hashlib.sha256(place.encode(errors="surrogateescape")).hexdigest()
