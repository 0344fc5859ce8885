"""Local records in the cache folder: paths of models that were used, and folders of images that were trained
on.

Neither belongs into files for sharing. PNGs name their model without its path, and ``show --again`` finds it
here by its weights. A model names the folder that it was trained on, and ``evaluate`` reads it by default
only if it is recorded here.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from .cache_folder import cache_root
from .documents import Unreadable, read_text
from .storage import write_text


def note_model(model: str | Path, weights_sha256: str) -> None:
    """Record the path of the model with these weights, unless it is a shipped name or a hub id. A cache that
    cannot be written is not an error."""
    with suppress(OSError, RuntimeError):  # RuntimeError: no home folder
        place = Path(model).expanduser()
        if place.is_dir():
            note = cache_root() / "models" / f"{weights_sha256}.txt"
            note.parent.mkdir(parents=True, exist_ok=True)
            write_text(note, str(place.resolve()))


def noted_model(weights_sha256: str) -> Path | None:
    """Path of the last use of a model with these weights, if it still exists."""
    digest = weights_sha256 if weights_sha256.isalnum() else ""
    with suppress(OSError, RuntimeError, Unreadable):
        place = Path(read_text(cache_root() / "models" / f"{digest}.txt"))
        return place if place.is_dir() else None
    return None


def note_folder(folder: str) -> None:
    """Record that the user named a folder of images, or shards; empty for none. A cache that cannot be
    written is not an error."""
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
