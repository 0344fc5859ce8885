"""How a run was trained, from its own folder: what a model remembers of its making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PLACES = ("out", "tokenizer", "cache", "resume", "start_from")  # where things lay on one machine
ROOMS = {"data": ("root", "val_root", "workers", "memory_mb", "download"), "train": ("preview_every", "log_every")}


def training_facts(run: Path, command: str) -> dict[str, Any]:
    """Settings, steps and duration of a run, without the paths of the machine it ran on; empty where the folder does not tell.

    Args:
        run: Folder of the run.
        command: train-tokenizer or train-diffusion.
    """
    import yaml

    from ..training.monitor import read_lines

    try:
        settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        lines = [line for _, line in read_lines(run / "log.jsonl") if line is not None]
    except (OSError, ValueError):
        return {}
    settings = {name: value for name, value in settings.items() if name not in PLACES or isinstance(value, dict)}
    for room, left_out in ROOMS.items():
        settings[room] = {name: value for name, value in settings.get(room, {}).items() if name not in left_out}
    seconds = max((s for line in lines if isinstance(s := line.get("seconds"), (int, float))), default=0.0)
    steps = max((line["step"] for line in lines), default=0)
    return {"command": command, "steps": steps, "seconds": round(seconds, 1), "settings": settings}
