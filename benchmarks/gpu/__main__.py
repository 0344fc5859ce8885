"""``python -m benchmarks.gpu pack | rates | train``: what is prepared beforehand, and the two parts of the
run itself, which ``benchmarks/gpu/run.sh`` starts."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import LIMIT

START_S = 15.0
"""Least seconds in which a step is worth starting."""
FEW_S = 60.0
"""Least seconds in which a training is worth starting again."""
RESULTS = Path("gpu_results")
"""Where results lie where nothing else is said; figures of part one always, for part two to find."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parts = parser.add_subparsers(dest="part", required=True)
    packing = parts.add_parser("pack", help="make the folder that travels beside the repository")
    packing.add_argument("--data", type=Path, help="folder of the data sets; default that of the library")
    packing.add_argument("--perceptual", type=Path, help="weights of SqueezeNet 1.1 (.pt)")
    packing.add_argument("--megabytes", type=float, default=64, help="for it and the repository together")
    packing.add_argument("--python", default="3.12", help="version that the wheels are for; empty for none")
    packing.add_argument("--list", default="", help="another list of trainings")
    packing.add_argument("--limit", type=int, default=0, help="at most about so many images of each set")
    for name, seconds in (("rates", 200), ("train", 420), ("step", 0), ("entry", 0)):
        part = parts.add_parser(name)
        part.add_argument("--out", type=Path, default=RESULTS)
        if name != "step":
            part.add_argument("--seconds", type=float, default=seconds)
        part.add_argument("--toy", action="store_true", help="toy sizes on the processor: a rehearsal")
        if name in ("step", "entry"):
            part.add_argument("name")
    for part in (packing, parts.choices["train"], parts.choices["entry"]):
        part.add_argument("--pack", type=Path, default=Path("gpu_pack"))
    parts.choices["entry"].add_argument("--mode", default="false", help="train.compile of the denoiser")
    parts.choices["train"].add_argument("--only", nargs="*", default=[], help="names of entries")
    args = parser.parse_args()
    {"pack": pack, "rates": rates, "train": train, "step": step, "entry": entry}[args.part](args)


def pack(args: argparse.Namespace) -> None:
    """Make the folder that travels."""
    from .packing import pack as make

    make(args.pack, args.data, args.perceptual, args.megabytes, args.python, args.list, args.limit)


def recorder(file: Path) -> Callable[[str, Any], None]:
    """Takes figures by name, prints each and writes all to a file."""
    figures: dict[str, Any] = {}

    def note(name: str, value: Any) -> None:
        figures[name] = value
        print(f"{name}: {json.dumps(value)}", flush=True)
        file.write_text(json.dumps(figures, indent=1) + "\n")

    return note


def limited(words: list[str], seconds: float, log: Path) -> str:
    """Run this program again with other words, for so many seconds at most; how it ended."""
    command = [sys.executable, "-m", "benchmarks.gpu", *words]
    began = time.perf_counter()
    with log.open("a", encoding="utf-8") as file:
        options: dict[str, Any] = {"stdout": file, "stderr": subprocess.STDOUT, "start_new_session": True}
        options["env"] = os.environ | {LIMIT: str(seconds)}
        with subprocess.Popen(command, **options) as started:
            try:
                code = started.wait(seconds)
                end = "done" if code == 0 else f"exit code {code}"
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)  # and what it has started
                end = "stopped at its limit"
    print(f"{' '.join(words[:2])}: {end}, {time.perf_counter() - began:.0f} s", flush=True)
    return end


def rates(args: argparse.Namespace) -> None:
    """All steps of part one, each within its limit and all within the whole one; ``rates.json`` holds what
    each has written."""
    from .rates import STEPS

    args.out.mkdir(parents=True, exist_ok=True)
    deadline, toy = time.perf_counter() + args.seconds, ["--toy"] if args.toy else []
    found: dict[str, Any] = {}
    later = sum(limit for _, limit in STEPS.values())
    for name, (_, limit) in STEPS.items():
        later -= limit
        left = deadline - time.perf_counter()
        file = args.out / f"{name}.json"
        file.unlink(missing_ok=True)
        end = "no time was left"
        if left >= (1 if args.toy else START_S):
            words = ["step", name, "--out", str(args.out), *toy]
            end = limited(words, min(left, max(limit, left - later)), args.out / "log.txt")
        found[name] = {"end": end}
        with contextlib.suppress(OSError, ValueError):
            found[name] |= json.loads(file.read_text())
            file.unlink()
        for folder in [args.out] if args.toy else [args.out, RESULTS]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "rates.json").write_text(json.dumps(found, indent=1) + "\n")


def step(args: argparse.Namespace) -> None:
    """One step of part one."""
    from .rates import run_step

    run_step(args.name, recorder(args.out / f"{args.name}.json"), args.toy)


def fastest(*folders: Path) -> str:
    """How small denoisers trained fastest in part one, whose results lie in one of these folders: a value of
    ``train.compile``; eager where that is not known."""
    values = {"eager": "false", "compiled": "true", "graphs": "reduce-overhead"}
    known: dict[str, float] = {}
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, KeyError):
            rows = json.loads((folder / "rates.json").read_text())["training"]
            found = {mode: rows.get(f"7M {mode}") for mode in values}
            known = known or {m: row["images_per_s"] for m, row in found.items() if isinstance(row, dict)}
    return values[max(known, key=lambda mode: known[mode])] if known else "false"


def train(args: argparse.Namespace) -> None:
    """The trainings one after another, each with its share of the time that is left."""
    from .training import chosen

    args.out.mkdir(parents=True, exist_ok=True)
    deadline, left_over = time.perf_counter() + args.seconds, chosen(args.only, args.pack)
    ends: dict[str, Any] = {}
    while left_over:
        first, *left_over = left_over
        left = deadline - time.perf_counter()
        share = left * first["share"] / (first["share"] + sum(other["share"] for other in left_over))
        words = ["entry", first["name"], "--out", str(args.out), "--pack", str(args.pack)]
        words += ["--toy"] if args.toy else []
        mode, began = fastest(args.out, RESULTS, args.pack), time.perf_counter()
        end = limited([*words, "--mode", mode, "--seconds", str(share)], left, args.out / "log.txt")
        rest = share - (time.perf_counter() - began)
        if end.startswith("exit code") and mode != "false" and rest > FEW_S:  # once more, eager
            again = [*words, "--mode", "false", "--seconds", str(rest)]
            second = limited(again, deadline - time.perf_counter(), args.out / "log.txt")
            end = f"{end} with {mode}; eager: {second}"
        ends[first["name"]] = {"end": end, "budget_s": round(share)}
        (args.out / "trainings.json").write_text(json.dumps(ends, indent=1) + "\n")


def entry(args: argparse.Namespace) -> None:
    """One training."""
    import tempfile

    from .training import chosen, train_entry

    mode = {"false": False, "true": True}.get(args.mode, args.mode)
    (found,) = chosen([args.name], args.pack)
    with tempfile.TemporaryDirectory() as work:
        made = train_entry(found, args.pack.resolve(), Path(work), args.out, args.seconds, mode, args.toy)
    print(json.dumps(made, indent=1), flush=True)


if __name__ == "__main__":
    main()
