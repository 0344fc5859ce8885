"""Checkpoints: a folder that is complete or absent. Weights are safetensors, the rest JSON; nothing is
pickled.

A checkpoint is written into a hidden folder beside its place, synced to disk, and renamed, so that an
existing ``step-00000500`` is complete. ``state.json`` holds the SHA-256 of every other file, checked on
loading.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ..documents import Unreadable, read_json
from ..former_names import FORMER
from ..storage import replace_folder, sha256, write_tensors, write_text
from .sharding import placed

PREFIX = "step-"


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, incomplete or damaged; the message names the file."""


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str = "") -> dict[str, Tensor]:
    """State of an optimizer as flat tensors, ``<prefix><parameter number>.<name>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}{number}.{name}": torch.as_tensor(value)
        for number, entries in state.items()
        for name, value in entries.items()
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "") -> None:
    """Put :func:`optimizer_tensors` back; hyper-parameters stay those of the configuration."""
    state: dict[int, dict[str, Tensor]] = {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, value in tensors.items():
        if key.startswith(prefix):
            number, name = key.removeprefix(prefix).split(".", 1)
            state.setdefault(int(number), {})[name] = placed(value, parameters[int(number)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]
) -> Path:
    """Write ``folder/step-<step>`` with one safetensors file per dictionary of tensors and ``state.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{PREFIX}{step:08d}"
    part = folder / f".{place.name}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        sums = {}
        for name, values in tensors.items():
            write_tensors(part / f"{name}.safetensors", values)
            sums[f"{name}.safetensors"] = sha256(part / f"{name}.safetensors")
        write_text(part / "state.json", json.dumps({**state, "step": step, "sha256": sums}, indent=1))
        replace_folder(part, place)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return place


def load_checkpoint(place: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Tensors and state of a checkpoint.

    Raises:
        CheckpointError: a file is missing or its checksum differs.
    """
    try:
        state = read_json(place / "state.json")
        sums = dict(state["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{place / 'state.json'} cannot be read ({type(error).__name__}: {error})"
        ) from error
    tensors = {}
    for name, expected in sums.items():
        file = place / Path(name).name
        if not file.is_file() or sha256(file) != expected:
            raise CheckpointError(f"{file}: missing or damaged (checksum differs)")
        part = file.name.removesuffix(".safetensors")
        tensors[FORMER.get(part, part)] = load_file(file)
    return tensors, state


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints in a folder, oldest first."""
    found = [
        p
        for p in folder.glob(f"{PREFIX}*")
        if p.name.removeprefix(PREFIX).isdigit() and (p / "state.json").is_file()
    ]
    return sorted(found, key=lambda p: int(p.name.removeprefix(PREFIX)))


def incomplete(folder: Path) -> list[Path]:
    """Folders of checkpoints without state.json: half removed."""
    found = [p for p in folder.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit() and p.is_dir()]
    return [p for p in found if not (p / "state.json").exists()]


def read_state(place: Path) -> dict[str, Any]:
    """``state.json`` of a checkpoint; empty if it cannot be read."""
    try:
        state = read_json(place / "state.json")
    except Unreadable:
        return {}
    return state if isinstance(state, dict) else {}


def remove(place: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that no half of it is found."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.replace(place, part)
    shutil.rmtree(part, ignore_errors=True)


def prune(folder: Path, keep: int, step: int) -> None:
    """Remove all but the last ``keep`` checkpoints up to ``step``.

    Later ones are not touched: they are damaged ones that a resumed run skipped, and will be overwritten.
    """
    known = [p for p in checkpoints(folder) if int(p.name.removeprefix(PREFIX)) <= step]
    for old in known[:-keep]:
        remove(old)
    for part in [*folder.glob(f".{PREFIX}*.part"), *folder.glob(f".{PREFIX}*.old")]:
        shutil.rmtree(part, ignore_errors=True)
