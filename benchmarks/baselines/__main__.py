"""Methods side by side: the same codes, network, optimizer and training time; quality over network calls and
over seconds.

    python -m benchmarks.baselines train --tokenizer runs/fashion_mnist/tokenizer --seconds 480
    python -m benchmarks.baselines evaluate docs/results/fashion_mnist_baselines.json --samples 1000
    python -m benchmarks.baselines run RESULTS --tokenizer … --seconds 480         # both

``--only`` takes entries and groups (peers, share, kernels); ``list`` prints them. ``train`` and ``evaluate``
skip what is done, so they go on where an earlier call stopped, an entry at a time. Other options of ``train``
are those of ``d3pm-image train-diffusion``, written ``--data.root=DIR``, over ``--config``. A budget is of
the time inside training steps. ``scripts.results`` and ``scripts.figures`` write the tables and plots of
docs/baselines.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from d3pm_image.config import DiffusionRun
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.parser import parse
from d3pm_image.provenance.machine import machine
from d3pm_image.recipes.settings import save_resolved
from d3pm_image.storage import write_text

from . import entries, samples
from .entries import Case
from .problem import Baseline
from .setup import Setup
from .training import Budget

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "fashion_mnist" / "diffusion.yaml"
WORK = Path("runs/baselines")


def train(args: argparse.Namespace) -> None:
    """Train every entry that is not done; leaves ENTRY.safetensors and ENTRY.json in the work folder."""
    size = [f"--denoiser.{name}={value}" for name in ("width", "depth") if (value := getattr(args, name))]
    run = settings(args.config, "--tokenizer", args.tokenizer, *size, *args.rest)
    budget = Budget(args.seconds, args.steps, args.clock)
    begin(args.work, run, dataclasses.asdict(budget))
    setup = Setup(run, args.device)
    for name in entries.selected(args.only):
        record = args.work / f"{name}.json"
        if record.is_file():
            print(f"{name}: trained before")
            continue
        trained = setup.train(name, budget, args.work / f"{name}.safetensors")
        write_json(record, trained)
        print(name, trained, flush=True)


def settings(config: Path, *options: str) -> DiffusionRun:
    """The settings of a file, with options over it."""
    return parse("train-diffusion", DiffusionRun, ["--config", str(config), *options])


def begin(work: Path, run: DiffusionRun, budget: dict[str, Any]) -> None:
    """Note settings and budget in a new work folder; in an old one they must be the same.

    Raises:
        SystemExit: they differ.
    """
    noted, plan = work / "config.yaml", work / "plan.json"
    before = (noted.read_text(encoding="utf-8"), json.loads(plan.read_text())) if plan.is_file() else None
    save_resolved(run, noted)
    if before and before != (noted.read_text(encoding="utf-8"), budget):
        noted.write_text(before[0], encoding="utf-8")
        other = f"other settings or another budget ({plan.read_text()})"
        raise SystemExit(f"{work} was begun with {other}; give the same, or another --work")
    write_text(plan, json.dumps(budget))


def write_json(path: Path, value: dict[str, Any]) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def evaluate(args: argparse.Namespace) -> None:
    """Draw from every trained entry and measure; the results go to one JSON file, row by row."""
    setup = Setup(settings(args.work / "config.yaml"), args.device)
    data = setup.run.data
    held_out = ImageSet(open_source(data, held_out=True), data)
    evaluator = SampleEvaluator(setup.source, data, held_out, setup.source.class_names)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    results = begun_results(args, setup, evaluator)
    for name in entries.selected(args.only):
        if not (args.work / f"{name}.json").is_file():
            print(f"{name}: not trained; left out")
            continue
        record = json.loads((args.work / f"{name}.json").read_text())
        results["training"][name] = record | results["training"].get(name, {})
        done, cases = results["rows"], cases_of(name, args, setup)
        cases = [case for case in cases if not any(samples.is_row_of(row, case) for row in done)]
        for case, baseline in with_baseline(setup, args.work, cases):
            if case.group == "kernels" and "held_out" not in results["training"][name]:
                results["training"][name]["held_out"] = samples.held_out_bits(baseline, setup)
            row = samples.measure(baseline, case, request_of(args, setup), setup, evaluator)
            results["rows"].append(row)
            write_json(args.results, results)
            print(row, flush=True)


def begun_results(args: argparse.Namespace, setup: Setup, evaluator: SampleEvaluator) -> dict[str, Any]:
    """The file's results so far; of a new file the conditions, and what as many real images reach.

    Raises:
        SystemExit: the file was begun with other samples.
    """
    asked = {"samples": args.samples, "seed": args.seed, "batch_size": args.batch_size}
    if args.results.is_file():
        results = json.loads(args.results.read_text(encoding="utf-8"))
        if results["evaluation"] != asked:
            begun = f"{args.results} was begun with {results['evaluation']}"
            raise SystemExit(f"{begun}; give the same, or another file")
        return results
    assert evaluator.classifier is not None
    problem = setup.problem
    return {
        "evaluation": asked,
        "classifier": evaluator.classifier.name,
        "classifier_accuracy_on_held_out": evaluator.accuracy,
        "real": evaluator.measure_real(args.samples),
        "budget": json.loads((args.work / "plan.json").read_text()),
        "network": {"codes": problem.num_codes, "grid": problem.grid, **dataclasses.asdict(problem.denoiser)},
        "batch_size": setup.run.train.batch_size,
        "machine": machine(),
        "training": {},
        "rows": [],
    }


def request_of(args: argparse.Namespace, setup: Setup) -> samples.Request:
    """Every class in turn."""
    labels = (torch.arange(args.samples) % setup.problem.num_classes).to(args.device)
    return samples.Request(labels, args.seed, args.batch_size)


def with_baseline(setup: Setup, work: Path, cases: list[Case]) -> Iterator[tuple[Case, Baseline]]:
    """Cases of one entry, each with the trained baseline, which is loaded once, or not at all where there is
    no case."""
    if cases:
        baseline = setup.trained(cases[0].entry, work / f"{cases[0].entry}.safetensors")
        yield from ((case, baseline) for case in cases)


def retime(args: argparse.Namespace) -> None:
    """Measure the seconds of the methods' rows again, with fewer images: one entry after the other on a quiet
    machine."""
    setup = Setup(settings(args.work / "config.yaml"), args.device)
    results, request = json.loads(args.results.read_text(encoding="utf-8")), request_of(args, setup)
    for name in entries.selected(args.only):
        cases = [c for c in cases_of(name, args, setup) if c.group == "peers"]
        for case, baseline in with_baseline(setup, args.work, cases):
            row = next(row for row in results["rows"] if samples.is_row_of(row, case))
            _, seconds = samples.draw_codes(baseline, case, request)
            row["seconds_per_1000"] = samples.per_1000(seconds, request)
            print(name, case.sampler, case.calls, row["seconds_per_1000"], flush=True)
        write_json(args.results, results)


def cases_of(name: str, args: argparse.Namespace, setup: Setup) -> list[Case]:
    """Cases of an entry in the groups asked for."""
    groups = [g for g in entries.groups_of(name) if not args.only or {g, name} & set(args.only)]
    tokens = setup.problem.tokens
    cases = entries.peers(name, args.calls, tokens, args.guidance) if "peers" in groups else []
    cases += entries.study(name, tokens) if "share" in groups else []
    return cases + (entries.kernels(name, args.calls) if "kernels" in groups else [])


def run(args: argparse.Namespace) -> None:
    """Train, then evaluate."""
    train(args)
    evaluate(args)


def list_entries(args: argparse.Namespace) -> None:
    """Print the entries and their groups."""
    for name, entry in entries.ENTRIES.items():
        print(f"{name}: {entry.title} ({', '.join(entries.groups_of(name))})")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.baselines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts = parser.add_subparsers(required=True)
    for name, call in {"train": train, "evaluate": evaluate, "time": retime, "run": run}.items():
        part = parts.add_parser(name, help=call.__doc__, allow_abbrev=False)
        part.set_defaults(call=call)
        if name != "train":
            part.add_argument("results", type=Path, help="JSON file of the results")
        part.add_argument("--work", type=Path, default=WORK, help="folder of the trained networks")
        part.add_argument("--only", nargs="+", default=[], help="entries or groups; default all")
        part.add_argument("--device", default="cpu")
        if call in (train, run):
            add_training(part)
        if call is not train:
            add_sampling(part)
    parts.add_parser("list", help=list_entries.__doc__).set_defaults(call=list_entries)
    args, rest = parser.parse_known_args()
    if rest and args.call not in (train, run):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    args.call(args)


def add_training(part: argparse.ArgumentParser) -> None:
    """Options of ``train``."""
    part.add_argument("--tokenizer", required=True, help="folder of the tokenizer's run")
    part.add_argument("--config", type=Path, default=CONFIG, help="settings of the entries and the recipe")
    part.add_argument("--width", type=int, default=0, help="of every network; default the configuration's")
    part.add_argument("--depth", type=int, default=0)
    length = part.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float, default=0.0, help="time of each entry in training steps")
    length.add_argument("--steps", type=int, default=0, help="or as many steps for every entry")
    shared = "cpu: processor seconds over threads, for a shared machine"
    part.add_argument("--clock", choices=("wall", "cpu"), default="wall", help=shared)


def add_sampling(part: argparse.ArgumentParser) -> None:
    """Options of ``evaluate`` and ``time``."""
    part.add_argument("--calls", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    twice = "weights; with other than 1 a pass carries each image twice"
    part.add_argument("--guidance", type=float, nargs="+", default=[1.0], help=twice)
    part.add_argument("--samples", type=int, default=1000)
    part.add_argument("--seed", type=int, default=0)
    part.add_argument("--batch-size", type=int, default=100, help="images per pass")


if __name__ == "__main__":
    main()
