"""A run's folder: its settings, log, checkpoints, best weights and model, and the disk it lies on."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..config import ConfigError, TokenizerConfig, TrainConfig, is_stage_two
from ..documents import Unreadable, read_json, read_yaml
from ..storage import sha256
from ..training.monitor import read_lines
from .data import examine_data
from .finding import Finding
from .log import Log, examine_log

STILL_RUNNING_SECONDS = 900.0
SPARE_CHECKPOINTS = 2
EXPORT_AGAIN = "copy it again; --resume true on a finished run writes model/ again"


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run: settings, log or checkpoints."""
    return (
        any((folder / name).exists() for name in ("log.jsonl", "checkpoints"))
        or (folder / "config.yaml").is_file()
    )


def read_log(path: Path) -> Log:
    """Lines of ``log.jsonl``; what cannot be read is counted, but for a half line at the end, which a run
    that is being written has."""
    log, half = Log([], [], []), 0
    for number, (text, line) in enumerate(read_lines(path), 1):
        if half:
            log.damaged.append(half)
        half = 0
        if line is not None:
            log.add(line)
        elif text.endswith(b"\n"):
            log.damaged.append(number)
        else:
            half = number
    return log


def read_settings(folder: Path) -> tuple[dict[str, Any], list[Finding]]:
    """``config.yaml`` as dictionaries, and its problems."""
    path = folder / "config.yaml"
    try:
        values = read_yaml(path)
        return (
            (values, [])
            if isinstance(values, dict)
            else ({}, [Finding("settings", f"{path} holds no settings", "write it again")])
        )
    except Unreadable as error:
        return {}, [
            Finding(
                "settings",
                str(error),
                "without it the run's settings are not known: put the file back from a copy",
            )
        ]


def readable(path: Path) -> bool:
    """Whether a safetensors file is whole (its header, and as many bytes as that promises)."""
    try:
        with safe_open(path, "np") as file:
            return bool(list(file.keys()))
    except (OSError, SafetensorError):
        return False


def find_codes(folder: Path, settings: dict[str, Any]) -> int:
    """K: the tokenizer's setting, or the rows of a denoiser's head in whatever weights there are; 0 where
    neither is found."""
    tokenizer = settings.get("tokenizer")
    if isinstance(tokenizer, dict):
        with contextlib.suppress(ConfigError, TypeError):  # of another version
            return TokenizerConfig.from_values(tokenizer).num_codes
        return 0
    for path in (
        folder / "best/model.safetensors",
        *sorted(folder.glob("checkpoints/step-*/model.safetensors"), reverse=True),
    ):
        try:
            with safe_open(path, "np") as file:
                return int(file.get_slice("head.bias").get_shape()[0])
        except (OSError, SafetensorError):
            continue
    return 0


def damaged_checkpoint(place: Path) -> str:
    """The problem of a checkpoint, by its checksums; empty if there is none."""
    try:
        sums = read_json(place / "state.json")["sha256"]
    except (ValueError, KeyError, TypeError):
        return "state.json is missing or cannot be read"
    for name, expected in sums.items():
        file = place / Path(name).name
        if not file.is_file():
            return f"{name} is missing"
        if sha256(file) != expected:
            return f"{name} is damaged (checksum differs)"
    return ""


def folder_bytes(place: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def examine_checkpoints(folder: Path, log: Log, train: dict[str, Any]) -> list[Finding]:
    """Checkpoints that are missing or damaged, and remains of interrupted writes."""
    places = sorted(p for p in folder.glob("checkpoints/step-*") if p.is_dir())
    found, good = [], 0
    for place in places:
        fault = damaged_checkpoint(place)
        good += not fault
        if fault:
            found.append(
                Finding(
                    "checkpoint_damaged",
                    f"checkpoints/{place.name}: {fault}",
                    "a resume takes the last one that is whole; remove this one",
                )
            )
    reached = max((line["step"] for line in log.steps), default=0)
    if not good and reached >= int(train["checkpoint_every"]):
        text = (
            f"{reached} steps were trained and there is no whole checkpoint (every"
            f" {train['checkpoint_every']} steps)"
        )
        found.append(
            Finding(
                "no_checkpoint",
                text,
                "training can only begin again; check the disk's space and rights first",
            )
        )
    left = [p for pattern in (".step-*.part", ".step-*.old") for p in (folder / "checkpoints").glob(pattern)]
    if left:
        text = f"an interrupted write has left {left[0].name} ({sum(map(folder_bytes, left)) / 1e6:.0f} MB)"
        found.append(Finding("leftovers", text, "the next checkpoint removes it", wrong=False))
    return found


def examine_weights(folder: Path, log: Log, diffusion: bool) -> list[Finding]:
    """Best weights and the finished model."""
    found = []
    if (
        any("val_score" in line for line in log.validations)
        and not (folder / "best/model.safetensors").is_file()
    ):
        found.append(
            Finding(
                "best_missing",
                "the run was validated but best/model.safetensors is missing",
                "copy it back, or take the last checkpoint with --resume true",
            )
        )
    for path in sorted([*folder.glob("best/*.safetensors"), *folder.glob("model/**/*.safetensors")]):
        if not readable(path):
            found.append(
                Finding(
                    "weights_damaged",
                    f"{path.relative_to(folder)} cannot be read: cut short or damaged",
                    EXPORT_AGAIN,
                )
            )
    if (folder / "model").is_dir():
        parts = ("model/denoiser", "model/tokenizer") if diffusion else ("model",)
        for weights in (folder / part / "model.safetensors" for part in parts):
            expected = json_of(weights.with_name("config.json")).get("sha256")
            if not weights.is_file():
                found.append(
                    Finding("weights_missing", f"{weights.relative_to(folder)} is missing", EXPORT_AGAIN)
                )
            elif expected and readable(weights) and sha256(weights) != expected:
                found.append(
                    Finding(
                        "weights_damaged",
                        f"{weights.relative_to(folder)} is damaged (checksum differs)",
                        EXPORT_AGAIN,
                    )
                )
    return found


def json_of(path: Path) -> dict[str, Any]:
    """A JSON file's dictionary; empty where there is none that can be read."""
    try:
        values = read_json(path)
    except Unreadable:
        return {}
    return values if isinstance(values, dict) else {}


def examine_end(folder: Path, log: Log, train: dict[str, Any], command: str, now: float) -> list[Finding]:
    """An unfinished run, and how to continue it."""
    reached, end = max((line["step"] for line in log.steps), default=0), int(train["steps"])
    ended = reached >= end or bool(train.get("patience"))  # which may stop a run before its last step
    if (folder / "model/config.json").is_file() and ended:
        return []
    again = f"d3pm-image {command} --config {folder / 'config.yaml'} --out {folder} --resume true"
    if reached >= end:
        return [Finding("not_exported", f"all {end} steps are done but model/ is missing", again)]
    path = folder / "log.jsonl"
    age = now - path.stat().st_mtime if path.is_file() else float("inf")
    text = f"the run is at step {reached} of {end}"
    if age < STILL_RUNNING_SECONDS:
        return [
            Finding(
                "unfinished",
                f"{text}; its log was written {age:.0f} s ago, so it may still be running",
                f"if it has stopped: {again}",
                wrong=False,
            )
        ]
    return [Finding("unfinished", f"{text} and has stopped", again)]


def examine_disk(folder: Path, free: int) -> list[Finding]:
    """Space for the next checkpoints, of the size of the largest one there."""
    largest = max((folder_bytes(p) for p in folder.glob("checkpoints/step-*") if p.is_dir()), default=0)
    if free >= max(SPARE_CHECKPOINTS * largest, 200_000_000):
        return []
    text = (
        f"the disk has {free / 1e6:,.0f} MB left, and a checkpoint takes {largest / 1e6:,.0f} MB (a new one"
        " is written before an old one goes)"
    )
    return [Finding("disk_full", text, "make space, or lower train.keep")]


def examine_run(folder: Path, free: int | None = None, now: float | None = None) -> list[Finding]:
    """All findings of a run's folder, read only.

    Args:
        free: Bytes left on its disk; None asks the disk. now: Seconds since the epoch; None asks the clock.
    """
    settings, found = read_settings(folder)
    given = settings.get("train")
    train = dataclasses.asdict(TrainConfig()) | (given if isinstance(given, dict) else {})
    log = read_log(folder / "log.jsonl")
    if not log.steps:
        found.append(
            Finding(
                "no_log",
                "log.jsonl is missing or holds no step",
                "training has not begun, or its log was lost",
            )
        )
    command = "train-diffusion" if is_stage_two(settings) else "train-tokenizer"
    if settings:
        found += examine_log(log, train, find_codes(folder, settings))
        found += examine_checkpoints(folder, log, train)
        found += examine_data(folder, settings)
        found += examine_end(folder, log, train, command, time.time() if now is None else now)
    found += examine_weights(folder, log, command == "train-diffusion")
    return found + examine_disk(folder, shutil.disk_usage(folder).free if free is None else free)
