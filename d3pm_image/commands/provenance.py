"""How a run was trained, from its own folder: what a model remembers of its making."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..documents import MB, read_text, read_yaml

LARGEST_LOG = 512 * MB
PLACES = ("out", "tokenizer", "cache", "resume", "start_from")  # where things lay on one machine
ROOMS = {"data": ("root", "val_root", "workers", "memory_mb", "download"), "train": ("preview_every", "log_every")}


def training_facts(run: Path, command: str) -> dict[str, Any]:
    """Settings, steps and duration of a run, without the paths of the machine it ran on; empty where the folder does not tell.

    Args:
        run: Folder of the run.
        command: train-tokenizer or train-diffusion.
    """
    try:
        settings = read_yaml(run / "config.yaml")
        lines = [json.loads(line) for line in read_text(run / "log.jsonl", LARGEST_LOG).splitlines()]
    except ValueError:
        return {}
    lines = [line for line in lines if isinstance(line, dict) and isinstance(line.get("step"), int)]
    if not isinstance(settings, dict) or not lines:
        return {}
    settings = {name: value for name, value in settings.items() if name not in PLACES or isinstance(value, dict)}
    for room, left_out in ROOMS.items():
        held = settings.get(room)
        settings[room] = {name: value for name, value in held.items() if name not in left_out} if isinstance(held, dict) else {}
    seconds = max((line.get("seconds", 0.0) for line in lines), default=0.0)
    return {"command": command, "steps": max(line["step"] for line in lines), "seconds": round(seconds, 1), "settings": settings}
