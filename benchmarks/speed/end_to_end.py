"""Every stage on the embedded digits by the commands themselves: seconds of each, in float32 and bf16, each
in a process of its own.

What a user waits for, start-up included: both trainings (``--steps`` each), 60 images, 200 evaluated samples.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .timing import table

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "digits"


def stages(folder: Path, steps: int, precision: str) -> dict[str, list[str]]:
    """Commands by stage; each needs those before it."""
    half = "bf16" if precision == "bf16" else "no"
    loop = ["--train.steps", steps, "--train.mixed_precision", half]
    loop += ["--train.preview_every", steps, "--train.checkpoint_every", steps]
    tokenizer, diffusion = folder / "tokenizer", folder / "diffusion"
    first = ["--config", CONFIGS / "tokenizer.yaml", "--out", tokenizer]
    second = ["--config", CONFIGS / "diffusion.yaml", "--tokenizer", tokenizer, "--out", diffusion]
    drawn, measured = folder / "grid.png", folder / "evaluation.json"
    commands: dict[str, list] = {
        "train tokenizer": ["train-tokenizer", *first, *loop],
        "train diffusion": ["train-diffusion", *second, *loop],
        "generate 60": ["generate", diffusion, "--num-images", 60, "--out", drawn, "--precision", precision],
        "evaluate 200": [
            "evaluate",
            diffusion,
            "--num-samples",
            200,
            "--out",
            measured,
            "--precision",
            precision,
        ],
    }
    return {name: [str(word) for word in words] for name, words in commands.items()}


def seconds_of(words: list[str]) -> float:
    """Wall time of a command.

    Raises:
        SystemExit: it failed; its last words are shown.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    began = time.perf_counter()
    command = [sys.executable, "-m", "d3pm_image", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words[0]} failed: {done.stderr[-1000:]}")
    return time.perf_counter() - began


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100, help="steps of each training")
    parser.add_argument("--precisions", nargs="+", choices=["float32", "bf16"], default=["float32", "bf16"])
    args = parser.parse_args(arguments)
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(repeats):
        for precision in args.precisions:
            with tempfile.TemporaryDirectory() as folder:
                for name, words in stages(Path(folder), args.steps, precision).items():
                    times.setdefault((name, precision), []).append(seconds_of(words))
    rows = [
        {
            "stage": name,
            "precision": precision,
            "steps": args.steps,
            "seconds": round(statistics.median(found), 2),
        }
        for name in dict.fromkeys(name for name, _ in times)
        for (stage, precision), found in times.items()
        if stage == name
    ]
    print(f"embedded digits, {args.steps} steps of each training, medians of {repeats}")
    show(rows, args.precisions)
    return rows


def show(rows: list[dict], precisions: list[str]) -> None:
    """Print the seconds of each stage and of all, a column per precision, and the ratio of two."""
    seconds: dict[str, dict[str, float]] = {}
    for row in rows:
        seconds.setdefault(row["stage"], {})[row["precision"]] = row["seconds"]
    seconds["together"] = {p: sum(found[p] for found in seconds.values()) for p in precisions}
    lines = []
    for name, found in seconds.items():
        values = [found[p] for p in precisions]
        lines.append([name, *values, *([values[1] / values[0]] if len(values) == 2 else [])])
    table(["stage", *(f"{p}, s" for p in precisions), *(["ratio"] if len(precisions) == 2 else [])], lines)
