#!/usr/bin/env python
"""Methods side by side: the same codes, network, optimizer and training time; quality against network calls and against seconds.

    python scripts/baselines.py train --tokenizer runs/fashion_mnist/tokenizer --work runs/baselines --seconds 480
    python scripts/baselines.py judge --work runs/baselines docs/results/fashion_mnist_baselines.json --calls 4 8 16 32 64 --samples 1000
    python scripts/baselines.py write docs/results/fashion_mnist_baselines.json docs/baselines.md
    python scripts/baselines.py run FIGURES PAGE --tokenizer … --seconds 480         # all three

``--only`` takes entries and groups (peers, share); ``list`` prints them. ``train`` and ``judge`` skip what is done, so they go on where
an earlier call stopped, an entry at a time. Other options of ``train`` are those of ``d3pm-image train-diffusion``, written
``--data.root=DIR``, over ``--config``. A budget is of the time inside training steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
CONFIG = HERE.parent / "configs" / "fashion_mnist" / "diffusion.yaml"


def train(args: argparse.Namespace) -> None:
    """Train every entry that is not done; leaves ENTRY.safetensors and ENTRY.json in the work folder."""
    from d3pm_image.cli.parsing import parse
    from d3pm_image.config import DiffusionRun
    from d3pm_image.recipes.settings import save_resolved
    from d3pm_image.storage import write_tensors, write_text

    size = [f"--denoiser.{name}={value}" for name in ("width", "depth") if (value := getattr(args, name))]
    run = parse("train-diffusion", DiffusionRun, ["--config", str(args.config), "--tokenizer", args.tokenizer, *size, *args.rest])
    budget = {"seconds": args.seconds, "steps": args.steps, "clock": args.clock}
    args.work.mkdir(parents=True, exist_ok=True)
    begin(args.work, run, budget, save_resolved)
    stage = Stage(run, args.device)
    for name in chosen(args):
        if (args.work / f"{name}.json").is_file():
            print(f"{name}: trained before")
            continue
        facts = stage.train(name, budget, args.work / f"{name}.safetensors", write_tensors)
        write_text(args.work / f"{name}.json", json.dumps(facts, indent=1) + "\n")
        print(name, facts, flush=True)


def begin(work: Path, run, budget: dict[str, Any], save_resolved) -> None:
    """Note settings and budget in a new work folder; in an old one they must be the same.

    Raises:
        SystemExit: they differ.
    """
    noted, plan = work / "config.yaml", work / "plan.json"
    before = noted.read_text(encoding="utf-8") if noted.is_file() else None
    save_resolved(run, noted)
    if before is not None and (noted.read_text(encoding="utf-8") != before or json.loads(plan.read_text()) != budget):
        noted.write_text(before, encoding="utf-8")
        raise SystemExit(f"{work} was begun with other settings or another budget ({plan.read_text()}); give the same, or another --work")
    plan.write_text(json.dumps(budget), encoding="utf-8")


class Stage:
    """Tokenizer, data and the size of the network: what all entries share."""

    def __init__(self, run, device: str):
        from baselines.problem import Problem

        from d3pm_image.data.codes import CodeSet, Team
        from d3pm_image.recipes.token_cache import cached, code_images, open_tokenizer, tokenizer_data

        self.tokenizer, info = open_tokenizer(run)
        self.tokenizer.to(device)
        self.device, self.run = device, dataclasses.replace(run, data=tokenizer_data(run.data, info))
        images = code_images(self.run.data, held_out=False)
        self.source = images.source
        place = cached(images, self.tokenizer, info.sha256, run.cache, Team())
        self.codes = CodeSet(place, run.train.seed, num_codes=self.tokenizer.num_codes)
        self.problem = Problem(self.tokenizer.num_codes, len(self.source.class_names), self.codes.grid, run.denoiser)

    def make(self, name: str):
        """The baseline, with the same first weights where the network is the same."""
        import torch
        from baselines.entries import ENTRIES

        torch.manual_seed(self.run.train.seed)
        return ENTRIES[name].make(self.problem, self.run)

    def train(self, name: str, budget: dict[str, Any], out: Path, write_tensors) -> dict[str, Any]:
        from baselines.training import Budget, train

        weights, facts = train(self.make(name), self.codes, self.run.train, Budget(**budget), self.run.loss.label_dropout, self.device)
        write_tensors(out, weights)
        return facts

    def trained(self, name: str, weights: Path):
        from safetensors.torch import load_file

        baseline = self.make(name)
        baseline.model.load_state_dict(load_file(weights))
        baseline.model.to(self.device).eval()
        return baseline


def judge(args: argparse.Namespace) -> None:
    """Draw from every trained entry and measure; the figures go to one JSON file, row by row."""
    import torch
    from baselines import judging

    from d3pm_image.cli.parsing import parse
    from d3pm_image.config import DiffusionRun
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source
    from d3pm_image.evaluation.samples import Judge
    from d3pm_image.provenance.machine import machine
    from d3pm_image.storage import write_text

    stage = Stage(parse("train-diffusion", DiffusionRun, ["--config", str(args.work / "config.yaml")]), args.device)
    held_out = ImageSet(open_source(stage.run.data, held_out=True), stage.run.data)
    referee = Judge(open_source(stage.run.data), stage.run.data, held_out, stage.source.class_names)
    labels = (torch.arange(args.samples) % stage.problem.num_classes).to(args.device)  # every class in turn
    asked = {"samples": args.samples, "seed": args.seed, "batch_size": args.batch_size}
    figures = json.loads(args.figures.read_text(encoding="utf-8")) if args.figures.is_file() else None
    if figures is None:
        real = referee.measure_real(args.samples)
        shape = {"codes": stage.problem.num_codes, "grid": stage.problem.grid, **dataclasses.asdict(stage.problem.denoiser)}
        figures = {"judged": asked, "judge": referee.classifier.name, "judge_accuracy_on_held_out": referee.accuracy, "real": real}
        figures |= {"budget": json.loads((args.work / "plan.json").read_text()), "network": shape, "batch_size": stage.run.train.batch_size}
        figures |= {"machine": machine(), "training": {}, "rows": []}
    if figures["judged"] != asked:
        raise SystemExit(f"{args.figures} was begun with {figures['judged']}; give the same, or another file")
    args.figures.parent.mkdir(parents=True, exist_ok=True)
    for name in chosen(args):
        if not (args.work / f"{name}.json").is_file():
            print(f"{name}: not trained; left out")
            continue
        figures["training"][name] = json.loads((args.work / f"{name}.json").read_text())
        due = [d for d in drawings(name, args, stage.problem.tokens) if not any(judging.same(row, d) for row in figures["rows"])]
        baseline = stage.trained(name, args.work / f"{name}.safetensors") if due else None
        for drawing in due:
            row = judging.judge(baseline, drawing, referee, stage.tokenizer, labels, stage.problem.grid, args.seed, args.batch_size)
            figures["rows"].append(row)
            write_text(args.figures, json.dumps(figures, indent=1) + "\n")
            print(row, flush=True)


def retime(args: argparse.Namespace) -> None:
    """Measure the seconds of the methods' rows again, with fewer images: one entry after the other on a quiet machine."""
    import torch
    from baselines import judging

    from d3pm_image.cli.parsing import parse
    from d3pm_image.config import DiffusionRun
    from d3pm_image.storage import write_text

    stage = Stage(parse("train-diffusion", DiffusionRun, ["--config", str(args.work / "config.yaml")]), args.device)
    figures = json.loads(args.figures.read_text(encoding="utf-8"))
    labels = (torch.arange(args.samples) % stage.problem.num_classes).to(args.device)
    for name in chosen(args):
        due = [d for d in drawings(name, args, stage.problem.tokens) if d.group == "peers"]
        baseline = stage.trained(name, args.work / f"{name}.safetensors") if due else None
        for drawing in due:
            seconds = judging.draw(baseline, drawing, labels, args.seed, args.batch_size)[1]
            row = next(row for row in figures["rows"] if judging.same(row, drawing))
            row["seconds_per_1000"] = round(seconds * 1000 / args.samples, 2)
            print(name, drawing.sampler, drawing.calls, row["seconds_per_1000"], flush=True)
        write_text(args.figures, json.dumps(figures, indent=1) + "\n")


def drawings(name: str, args: argparse.Namespace, tokens: int):
    """Rows that an entry owes: those of the groups asked for."""
    from baselines import entries

    groups = [g for g, names in entries.GROUPS.items() if name in names and (not args.only or g in args.only or name in args.only)]
    rows = entries.peers(name, args.calls, tokens, args.guidance) if "peers" in groups else []
    return rows + (entries.study(name, tokens) if "share" in groups else [])


def chosen(args: argparse.Namespace) -> list[str]:
    from baselines.entries import chosen

    return chosen(args.only)


def write(args: argparse.Namespace) -> None:
    """Put the tables between the markers of the page; scripts/results.py does the same for all pages, scripts/figures.py draws the plots."""
    from baselines import tables

    tables.write(args.figures, args.page)
    print(f"written: {args.page}")


def run(args: argparse.Namespace) -> None:
    for step in (train, judge, write):
        step(args)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    for name, call in (("train", train), ("judge", judge), ("time", retime), ("write", write), ("run", run)):
        part = parts.add_parser(name, help=call.__doc__, allow_abbrev=False)
        part.set_defaults(call=call)
        if name != "train":
            part.add_argument("figures", type=Path, help="JSON file of the figures")
        if name in ("write", "run"):
            part.add_argument("page", type=Path, help="page with the markers of the tables")
        if name == "write":
            continue
        part.add_argument("--work", type=Path, default=Path("runs/baselines"), help="folder of the trained networks")
        part.add_argument("--only", nargs="+", default=[], help="entries or groups; default all")
        part.add_argument("--device", default="cpu")
        if name in ("train", "run"):
            add_training(part)
        if name != "train":
            add_judging(part)
    parts.add_parser("list").set_defaults(call=listed)
    args, rest = parser.parse_known_args()
    if rest and args.call not in (train, run):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    args.call(args)


def add_training(part: argparse.ArgumentParser) -> None:
    part.add_argument("--tokenizer", required=True, help="folder of the tokenizer's run")
    part.add_argument("--config", type=Path, default=CONFIG, help="settings of the library's entries and of the common recipe")
    part.add_argument("--width", type=int, default=0, help="of every network; default the configuration's")
    part.add_argument("--depth", type=int, default=0)
    length = part.add_mutually_exclusive_group(required=True)
    length.add_argument("--seconds", type=float, default=0.0, help="time inside training steps, of every entry")
    length.add_argument("--steps", type=int, default=0, help="or as many steps for every entry")
    part.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: processor seconds over threads, for a shared machine")


def add_judging(part: argparse.ArgumentParser) -> None:
    part.add_argument("--calls", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    part.add_argument("--guidance", type=float, nargs="+", default=[1.0], help="weights; other than 1 a pass carries each image twice")
    part.add_argument("--samples", type=int, default=1000)
    part.add_argument("--seed", type=int, default=0)
    part.add_argument("--batch-size", type=int, default=100, help="images a pass")


def listed(args: argparse.Namespace) -> None:
    from baselines.entries import ENTRIES, GROUPS

    print(*(f"{name}: {entry.title} ({', '.join(g for g in GROUPS if name in GROUPS[g])})" for name, entry in ENTRIES.items()), sep="\n")


if __name__ == "__main__":
    main()
