"""The images of a run: whether they are still those that it began with, by their contents, and whether
held-out images differ from training images."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

from ..config import ConfigError, DataConfig
from ..data.identity import read_again, shared_images
from ..data.image_source import ImageSource
from ..data.sources import folder, open_source, shard_set
from ..documents import Unreadable, read_json
from ..printable import printable
from .finding import Finding


def recorded_images(run: Path) -> dict[str, Any]:
    """The last checkpoint's record of the training images; empty if its version recorded no contents."""
    for place in sorted(run.glob("checkpoints/step-*"), reverse=True):
        try:
            found = read_json(place / "state.json")["identity"]["images"]["data"]
            if isinstance(found["fingerprint"], str) and isinstance(found["files"], str):
                return found
        except (Unreadable, KeyError, TypeError):
            continue
    return {}


def data_settings(settings: dict[str, Any]) -> DataConfig | None:
    """The data of a run's settings; None where they are not sound."""
    given = settings.get("data")
    names = {field.name for field in dataclasses.fields(DataConfig)}
    try:
        known = {name: value for name, value in given.items() if name in names}  # type: ignore[union-attr]
        return DataConfig(**known | {"download": False})
    except (ConfigError, AttributeError, TypeError, ValueError):
        return None


def examine_data(run: Path, settings: dict[str, Any]) -> list[Finding]:
    """Read every training image again and compare, without records of earlier readings."""
    data, before = data_settings(settings), recorded_images(run)
    if data is None or not (before or data.val_root):
        return []
    where = printable(data.root or data.source)
    try:
        with warnings.catch_warnings(), read_again():
            warnings.simplefilter("ignore")
            source = open_source(data)
            found = examine_held_out(data, None if data.limit else source)
    except (ConfigError, OSError) as error:
        text = f"the run's images cannot be read, so they were not compared ({printable(error)})"
        return [Finding("data_not_compared", text, "", wrong=False)]
    now = source.known_as
    if before and now.fingerprint != before["fingerprint"]:
        same_files = now.files == before["files"]
        other = (
            "names and sizes are the same, contents are not"
            if same_files
            else "files were added, removed, renamed or changed in size"
        )
        text = f"the images in {where} are not those that the run was trained on: {other}"
        hint = (
            "put the images back, or go on with these by --resume true --data.same true: other weights than"
            " without the change"
        )
        found.append(Finding("data_changed", text, hint))
    return found


def examine_held_out(data: DataConfig, source: ImageSource | None = None) -> list[Finding]:
    """Finding: held-out images that are training images.

    Args:
        source: All training images, where they are read already.
    """
    if not data.val_root or data.source not in ("folder", "shards"):
        return []
    read = folder if data.source == "folder" else shard_set
    labels = data.labels is True
    train, held_out = source or read(data.root, labels), read(data.val_root, labels)
    fault = shared_images(data.root, data.val_root, train.known_as, held_out.known_as)
    hint = "validation is meaningless then: train with a data.val_root of other images, or leave it out"
    return [Finding("val_root", f"data.val_root {printable(data.val_root)} {fault}", hint)] if fault else []
