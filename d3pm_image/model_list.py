"""Models that can be named on this machine: those that came with the package, and those in the hub's cache;
each described by its own files, without reading weights."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import size_pair
from .config.data import KINDS
from .documents import Missing, Unreadable, read_json, read_text, read_yaml
from .former_names import metadata_of
from .hub import SHIPPED, shipped
from .label_sets import counted, from_json
from .printable import printable
from .sampling.choice import flat, samplers_of

LARGEST_CARD = 2**20


@dataclass(frozen=True)
class ModelSummary:
    """Entry of a list of models.

    Args:
        name: Name for commands.
        image_size: (height, width) in pixels.
        channels: 1 for grey, 3 for colour, 2 and 4 for these with alpha.
        classes: Their names.
        megabytes: Size of its files, in MB.
        licence: Licence by its card; empty without one.
        scores: The main scores of its evaluation, by name.
        folder: Where its files are on this machine.
    """

    name: str
    image_size: tuple[int, int]
    channels: int
    classes: Sequence[str]
    megabytes: float
    licence: str
    scores: dict[str, float]
    folder: Path

    def line(self) -> str:
        """The entry as one line."""
        height, width = self.image_size
        kind = KINDS[self.channels]
        parts = [
            f"{width}x{height} {kind}",
            counted(self.classes) or "no classes",
            f"{self.megabytes:.1f} MB",
        ]
        parts += [self.licence] if self.licence else []
        parts += [f"{name} {value:.3g}" for name, value in self.scores.items()]
        return printable(", ".join(parts), 300)


def known_models() -> list[ModelSummary]:
    """Shipped models, then those of the hub's cache, each in the order of their names."""
    places = [(name, SHIPPED / name) for name in shipped()] + cached()
    found = [summary(name, place) for name, place in places]
    return [one for one in found if one is not None]


def drawing_settings(model: str) -> dict[str, Any] | None:
    """All default sampler settings of a model, or of a run that trains one, by name; nothing is downloaded,
    and no weights are read.

    Args:
        model: Its folder, or the name of one that :func:`known_models` lists.

    Returns:
        None if there is no such model here, or its files are damaged.
    """
    place = Path(model).expanduser()
    if not place.is_dir():
        listed = {name: SHIPPED / name for name in shipped()} | (dict(cached()) if "/" in model else {})
        place = listed.get(model, place)
    for folder in (place, place / "model", place / "pipeline", place / "model" / "pipeline"):
        with contextlib.suppress(Unreadable, OSError, KeyError, TypeError, ValueError, AttributeError):
            return flat(*samplers_of(read_json(folder / "config.json")))
    with contextlib.suppress(Unreadable, OSError, KeyError, TypeError, ValueError, AttributeError):
        return flat(*samplers_of(read_yaml(place / "config.yaml")))  # of an unfinished run
    return None


def cached() -> list[tuple[str, Path]]:
    """Names and folders of models in the hub's cache; empty without a cache."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):
        return []
    latest = [
        (r.repo_id, max(r.revisions, key=lambda v: v.last_modified)) for r in repositories if r.revisions
    ]
    return sorted((name, Path(revision.snapshot_path)) for name, revision in latest)


def summary(name: str, place: Path) -> ModelSummary | None:
    """Entry from a model's files; None if it is not a model of this package, or damaged."""
    try:
        config, tokenizer = read_json(place / "config.json"), read_json(place / "tokenizer" / "config.json")
        if config["format"] != "d3pm-image-pipeline":
            return None
        height, width = size_pair(tokenizer["image_size"])
        return ModelSummary(
            name,
            (int(height), int(width)),
            int(tokenizer["channels"]),
            from_json(config["class_names"]) or (),
            sum(p.stat().st_size for p in place.rglob("*") if p.is_file()) / 1e6,
            licence(place / "README.md"),
            scores(metadata_of(config)),
            place,
        )
    except (Unreadable, OSError, KeyError, TypeError, ValueError, AttributeError):
        return None


def licence(card: Path) -> str:
    """The licence that a model card names in its first lines."""
    try:
        lines = read_text(card, LARGEST_CARD).splitlines()[:60]
    except (Missing, Unreadable):
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("license:")), "")


def scores(metadata: Any) -> dict[str, float]:
    """Fréchet distance and label accuracy of a model's samples, if it was evaluated; else its bound."""
    samples = (metadata.get("evaluation") or {}).get("samples") or {}
    found = {
        "Fréchet distance": (samples.get("fidelity") or {}).get("frechet_distance"),
        "label accuracy": samples.get("label_accuracy"),
    }
    if not any(found.values()):
        found = {"bits per code": (metadata.get("validation") or {}).get("bits_per_code")}
    return {name: float(value) for name, value in found.items() if isinstance(value, (int, float))}
