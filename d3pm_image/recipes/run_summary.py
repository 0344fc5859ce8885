"""How a run was trained, from its folder, for the model's metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import is_stage_two
from ..documents import read_yaml

PLACES = ("out", "tokenizer", "cache", "resume", "start_from")  # paths of one machine
PARTS = {
    "data": ("root", "val_root", "name", "workers", "memory_mb", "download"),
    "train": ("preview_every", "log_every"),
}


def training_facts(run: Path) -> dict[str, Any]:
    """Settings, steps and duration of a run, without the paths of the machine it ran on; empty if the
    folder has no such files."""
    from ..training.monitor import read_lines

    try:
        settings = read_yaml(run / "config.yaml")
        lines = [line for _, line in read_lines(run / "log.jsonl") if line is not None]
    except (OSError, ValueError):
        return {}
    if not isinstance(settings, dict) or not lines:
        return {}
    command = "train-diffusion" if is_stage_two(settings) else "train-tokenizer"
    settings = {
        name: value for name, value in settings.items() if name not in PLACES or isinstance(value, dict)
    }
    for part, left_out in PARTS.items():
        held = settings.get(part)
        settings[part] = (
            {name: value for name, value in held.items() if name not in left_out}
            if isinstance(held, dict)
            else {}
        )
    seconds = max((s for line in lines if isinstance(s := line.get("seconds"), (int, float))), default=0.0)
    steps = max(line["step"] for line in lines)
    return {"command": command, "steps": steps, "seconds": round(seconds, 1), "settings": settings}
