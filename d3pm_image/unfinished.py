"""A run of stage two that still trains, or was stopped, used as a model: its settings, its tokenizer, and the
best weights so far."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from .config import (
    ConfigError,
    DenoiserConfig,
    ProcessConfig,
    SamplingConfig,
    check,
    check_tile,
    is_stage_two,
    palette_source,
    pixel_levels,
    size_pair,
)
from .denoiser import Transformer
from .documents import Unreadable, read_json, read_yaml
from .label_sets import from_json, sets_of
from .printable import printable
from .sampling.choice import from_values
from .storage import sha256
from .tokenizer import load_tokenizer, pixel_tokenizer
from .tokenizer.folder import TokenizerInfo, check_outline, check_weights, read_weights, settings_of
from .training import checkpoint as ckpt
from .training.launch import place_among_processes
from .types import Tokenizer

CLASSES = "class_names.json"
"""File with the names of the classes, in the folder of a run of stage two."""


def unfinished_parts(folder: str | Path) -> dict[str, Any] | None:
    """The fields of a :class:`~d3pm_image.bundle.Bundle` from an unfinished run, with a note on standard
    error about the weights.

    Returns:
        None if the folder is not a run of stage two, or no weights have been written yet.

    Raises:
        ConfigError: its tokenizer is missing or has changed; weights or settings are damaged.
    """
    run = Path(folder).expanduser()
    try:
        settings = read_yaml(run / "config.yaml")
    except Unreadable:
        return None
    if not isinstance(settings, dict) or not is_stage_two(settings):
        return None
    found = best_weights(run) or averaged_weights(run)
    if found is None:
        return None
    place, weights, step, which = found
    tokenizer, info = tokenizer_of(run, settings)
    with settings_of(run, "model"):
        rows = len(weights["classes.weight"])
        names = names_of_classes(run, rows)
        sets = sets_of(names)
        classes = rows - 1 if sets is None else sets.count
        data = settings.get("data")
        data = data if isinstance(data, dict) else {}
        tile = check_tile(data.get("tile", "none"))
        shape = (DenoiserConfig(**settings["denoiser"]), tokenizer.num_codes, classes, tile, sets)
        check_outline(lambda: Transformer(*shape), place, "model")
        denoiser = Transformer(*shape)
        denoiser.load_state_dict(weights)
        parts = {
            "tokenizer": tokenizer,
            "denoiser": denoiser,
            "process": ProcessConfig(**settings["process"]),
            "image_size": size_pair(info.image_size),
            "class_names": names,
            "sampler": from_values(settings["sampler"]),
            "sampling": SamplingConfig(**settings["sampling"]),
            "metadata": {"data": data, "tokenizer": info.metadata},
        }
        steps = settings["train"]["steps"]
    if place_among_processes()[0] == 0:
        where = printable(run, 0)
        print(
            f"note: the training in {where} has not ended: {which}, of step {step} of {steps}",
            file=sys.stderr,
        )
    return parts


Found = tuple[Path, dict[str, torch.Tensor], int, str]
"""Folder of the network's ``model.safetensors``, its weights, their step, and a description."""


def best_weights(run: Path) -> Found | None:
    """The best weights by validation so far; None before the first validation."""
    place = run / "best"
    if not (place / "model.safetensors").is_file():
        return None
    weights = read_weights(place, "model")
    with safe_open(place / "model.safetensors", "pt") as file:
        step = int((file.metadata() or {}).get("step", 0))
    return place, weights, step, "its best weights so far"


def averaged_weights(run: Path) -> Found | None:
    """The averaged weights of the last complete checkpoint, or its weights if none are averaged; None without
    one. A running training may remove the checkpoint meanwhile; then an older one is used, or none."""
    for place in reversed(ckpt.checkpoints(run / "checkpoints")):
        state = ckpt.read_state(place)
        sums = state.get("sha256")
        if not isinstance(sums, dict) or "model.safetensors" not in sums:
            continue
        name = "ema.safetensors" if "ema.safetensors" in sums else "model.safetensors"
        with contextlib.suppress(OSError, SafetensorError, ConfigError):
            check_weights(place, "model")
            if sha256(place / name) == sums[name]:
                weights = plain_names(load_file(place / name))
                averaged = "the averaged weights" if name == "ema.safetensors" else "the weights"
                return place, weights, int(state["step"]), f"{averaged} of its last checkpoint"
    return None


def plain_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Averaged weights under the network's own names."""
    return {name.removeprefix("module."): value for name, value in weights.items() if name != "n_averaged"}


def tokenizer_of(run: Path, settings: dict[str, Any]) -> tuple[Tokenizer, TokenizerInfo]:
    """The tokenizer that a run's settings name, and its metadata.

    Raises:
        ConfigError: it is missing (paths are relative to the folder in which the training was started), or it
            is not the one that the run began with.
    """
    name = str(settings.get("tokenizer", ""))
    if palette_source(name):
        name = str(run / "tokenizer")
    if levels := pixel_levels(name):
        with settings_of(run, "model"):
            data = settings["data"]
            return pixel_tokenizer(levels, data["channels"], data["image_size"])
    with told_where(name, run):
        tokenizer, info = load_tokenizer(name)
    begun = (ckpt.read_state(p).get("identity", {}) for p in reversed(ckpt.checkpoints(run / "checkpoints")))
    known = next((identity.get("tokenizer") for identity in begun if isinstance(identity, dict)), None)
    hint = f"is not the tokenizer that the training in {printable(run, 0)} was begun with"
    check(known in (None, info.sha256), "tokenizer", name, hint)
    return tokenizer, info


@contextlib.contextmanager
def told_where(name: str, run: Path) -> Iterator[None]:
    """Errors of a missing tokenizer say that a run's settings name it."""
    try:
        yield
    except ConfigError as error:
        hint = (
            f"is the tokenizer of the training in {printable(run, 0)}, which has not ended, and cannot be"
            f" read ({printable(error, 300)}); call from the folder in which the training was started"
        )
        raise ConfigError("model", name, hint) from error


def names_of_classes(run: Path, rows: int) -> Sequence[str]:
    """The names of a run's classes, whose embedding has so many rows; none if it was begun by a version that
    did not record them."""
    try:
        found = from_json(read_json(run / CLASSES))
    except (Unreadable, ConfigError):
        return []
    sets = sets_of(found or ())
    wanted = len(found or ()) + 1 if sets is None else sum(size + 1 for size in sets.sizes)
    return found if found is not None and rows == wanted else []
