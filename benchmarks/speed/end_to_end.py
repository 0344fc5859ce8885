"""The whole road on the embedded digits by the commands themselves: seconds of each stage, in float32 and bf16, each in a process of its own.

What a user waits for, start-up included: both trainings (``--steps`` each), 60 images, 200 evaluated samples. Options: --steps, --precisions.
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

from .measure import table

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "digits"


def stages(folder: Path, steps: int, precision: str) -> dict[str, list[str]]:
    """Commands by stage; each needs those before it."""
    half = "bf16" if precision == "bf16" else "no"
    loop = ["--train.steps", steps, "--train.mixed_precision", half, "--train.preview_every", steps, "--train.checkpoint_every", steps]
    tokenizer, diffusion = folder / "tokenizer", folder / "diffusion"
    common = ["--precision", precision]
    commands: dict[str, list] = {
        "train tokenizer": ["train-tokenizer", "--config", CONFIGS / "tokenizer.yaml", "--out", tokenizer, *loop],
        "train diffusion": ["train-diffusion", "--config", CONFIGS / "diffusion.yaml", "--tokenizer", tokenizer, "--out", diffusion, *loop],
        "generate 60": ["generate", diffusion, "--num-images", 60, "--out", folder / "grid.png", *common],
        "evaluate 200": ["evaluate", diffusion, "--num-samples", 200, "--out", folder / "evaluation.json", *common],
    }
    return {name: [str(word) for word in words] for name, words in commands.items()}


def seconds_of(words: list[str]) -> float:
    """Wall time of a command.

    Raises:
        SystemExit: it failed; its last words are shown.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "d3pm_image", *words], env=environment, capture_output=True, text=True, check=False)
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
    rows = []
    for name in dict.fromkeys(name for name, _ in times):
        medians = {precision: statistics.median(times[name, precision]) for precision in args.precisions}
        rows += [{"stage": name, "precision": p, "steps": args.steps, "seconds": round(s, 2)} for p, s in medians.items()]
    cells = {(row["stage"], row["precision"]): row["seconds"] for row in rows}
    names = list(dict.fromkeys(row["stage"] for row in rows))
    header = ["stage", *(f"{p}, s" for p in args.precisions), *(["ratio"] if len(args.precisions) == 2 else [])]
    lines = []
    for name in [*names, "together"]:
        values = [sum(cells[n, p] for n in names) if name == "together" else cells[name, p] for p in args.precisions]
        lines.append([name, *values, *([values[1] / values[0]] if len(values) == 2 else [])])
    print(f"embedded digits, {args.steps} steps of each training, medians of {repeats}")
    table(header, lines)
    return rows
