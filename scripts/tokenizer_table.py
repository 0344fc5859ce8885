#!/usr/bin/env python
"""Quantizers, losses, widths, norms and paddings of the tokenizer, each trained for the same short budget.

    python scripts/tokenizer_table.py measure docs/results/tokenizer_table.json --only quantizers losses
    python scripts/tokenizer_table.py write docs/results/tokenizer_table.json docs/tokenizer_measured.md

``measure`` goes on where an earlier call stopped, in the middle of a training too; the budget of a file is
fixed by its first call. ``--only`` takes groups, entries or ``group/entry``; ``list`` prints them. ``write``
puts the tables between the page's markers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from d3pm_image import train_tokenizer
from d3pm_image.config import (
    AdversarialConfig,
    DataConfig,
    TokenizerConfig,
    TokenizerLossConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.evaluation.reconstruction import Distance, Space
from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.metrics.edit_locality import far_changes
from d3pm_image.metrics.reconstruction import reconstruction_error
from d3pm_image.pixel_range import from_levels
from d3pm_image.storage import write_text
from d3pm_image.tokenizer import Autoencoder, load_tokenizer
from d3pm_image.tokenizer.perceptual import Perceptual

FASHION, EUROSAT = "fashion_mnist", "eurosat"
SETS = {
    FASHION: {"image_size": 28, "channels": 1, "flip": True},
    EUROSAT: {"image_size": 64, "channels": 3, "flip": True},
}
ADAPTIVE = {"weight": 0.3, "width": 32}
FIXED = {"weight": 0.05, "width": 32, "adaptive": False}
BUDGET = ("steps", "batch_size", "learning_rate", "width", "limit", "images", "bf16", "seed")
GROUPS: dict[str, tuple[tuple[str, ...], dict[str, dict[str, Any]]]] = {
    "quantizers": (
        (FASHION, EUROSAT),
        {
            "ema": {},
            "ema, 8 wide": {"quantizer": {"code_dim": 8}},
            "ema, 8 wide, rotated": {"quantizer": {"code_dim": 8, "rotation_trick": True}},
            "ema, 8 wide, never revived": {"quantizer": {"code_dim": 8, "revive_below": 0.0}},
            "cosine, 8 wide": {"quantizer": {"name": "cosine", "code_dim": 8}},
            "simvq, 8 wide": {"quantizer": {"name": "simvq", "code_dim": 8}},
            "simvq, 8 wide, rotated": {"quantizer": {"name": "simvq", "code_dim": 8, "rotation_trick": True}},
            "fsq 8·8·8": {"quantizer": {"name": "fsq", "levels": (8, 8, 8)}},
            "fsq 8·5·5·5": {"quantizer": {"name": "fsq", "levels": (8, 5, 5, 5)}},
            "lfq": {"quantizer": {"name": "lfq"}},
            "bsq": {"quantizer": {"name": "bsq"}},
        },
    ),
    "losses": (
        (FASHION, EUROSAT),
        {
            "l2": {},
            "l1": {"loss": {"l2": 0.0, "l1": 1.0}},
            "l2 + l1": {"loss": {"l1": 0.5}},
            "l2 + gradient": {"loss": {"gradient": 0.5}},
            "l2 + ssim": {"loss": {"ssim": 0.1}},
            "l2 + perceptual features": {"loss": {"perceptual": 0.1}},
            "l2 + perceptual logits": {"loss": {"perceptual": 0.01, "perceptual_target": "logits"}},
            "l2 + adversarial, fixed weight": {"loss": {"adversarial": FIXED}},
            "l2 + adversarial": {"loss": {"adversarial": ADAPTIVE}},
            "l2 + features + adversarial": {"loss": {"perceptual": 0.1, "adversarial": ADAPTIVE}},
        },
    ),
    "widths": (
        (FASHION, EUROSAT),
        {
            "width 16": {"width": 16},
            "width 32": {"width": 32},
            "width 64": {"width": 64},
            "width 16, 2 blocks": {"width": 16, "blocks": 2},
        },
    ),
    "norms and paddings": (
        (EUROSAT,),
        {
            f"{norm}, {padding}": {"norm": norm, "padding": padding}
            for norm in ("group", "channel")
            for padding in ("zeros", "replicate", "reflect")
        },
    ),
    "upsampling": (  # the other groups have shuffle, which was all there was
        (FASHION, EUROSAT),
        {name: {"upsampling": name} for name in ("shuffle", "even", "smooth")},
    ),
}
COLUMNS = {
    "PSNR, dB": ("psnr_db", "{:.2f}"),
    "SSIM": ("ssim", "{:.3f}"),
    "feature distance": ("feature_distance", "{:.3f}"),
    "Fréchet distance": ("frechet_distance", "{:.3f}"),
    "codes used": ("codes_used", "{:.0f}"),
    "perplexity": ("perplexity", "{:.0f}"),
    "border / inside": ("border_ratio", "{:.2f}"),
    "pattern of cells": ("lattice", "{:.2f}"),
    "codes changed by a far edit": ("far_changes", "{:.2%}"),
    "seconds": ("seconds", "{:.0f}"),
}
MARKERS = ("<!-- tables begin -->", "<!-- tables end -->")


def selected(only: list[str]) -> list[tuple[str, str, str]]:
    """(group, entry, data) of everything asked for.

    Raises:
        SystemExit: a name that is neither a group nor an entry.
    """
    all_of_them = [(g, e, d) for g, (sets, entries) in GROUPS.items() for e in entries for d in sets]
    names = {(g, e, d): {g, e, d, f"{g}/{e}", f"{g}/{e}/{d}"} for g, e, d in all_of_them}
    unknown = [name for name in only if name not in set().union(*names.values())]
    if unknown:
        raise SystemExit(f"no group, entry or data set is named {unknown[0]!r}; see `list`")
    return [key for key in all_of_them if not only or names[key] & set(only)]


def settings(group: str, entry: str, data: str, args: argparse.Namespace, out: Path) -> TokenizerRun:
    """The run of one entry. All of a data set share images, order, steps and learning rate."""
    changes = dict(GROUPS[group][1][entry])
    loss = dict(changes.pop("loss", {}))
    if "adversarial" in loss:  # a fifth of the run alone, a fifth to rise: it counts for most of any budget
        fifth = args.steps // 5
        times = {"warmup_steps": fifth, "ramp_steps": fifth}
        loss["adversarial"] = AdversarialConfig(**times, **loss["adversarial"])
    pace = max(1, args.steps // 4)
    train = TrainConfig(
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        warmup_steps=min(50, pace),
        ema=0.998,
        mixed_precision="bf16" if args.bf16 else "no",
        preview_every=0,
        checkpoint_every=pace,
        log_every=min(20, pace),
        seed=args.seed,
    )
    return TokenizerRun(
        out=str(out),
        resume=(out / "checkpoints").is_dir(),
        data=DataConfig(source=data, **SETS[data], limit=args.limit),
        tokenizer=TokenizerConfig.from_values({"width": args.width, **changes}),
        loss=TokenizerLossConfig(**loss),
        train=train,
    )


def measure(args: argparse.Namespace) -> None:
    """Train and measure every entry that the file does not hold yet."""
    budget = {name: getattr(args, name) for name in BUDGET}
    results = json.loads(args.out.read_text()) if args.out.is_file() else {"budget": budget, "rows": []}
    if results["budget"] != budget:
        begun = f"{args.out} was begun with the budget {results['budget']}"
        raise SystemExit(f"{begun}; give the same, or another file")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["group"], row["entry"], row["data"]) for row in results["rows"]}
    for group, entry, data in selected(args.only):
        if (group, entry, data) in done:
            continue
        folder = args.work / f"{group} {entry} {data}".replace(" ", "_").replace(",", "")
        found = train_and_measure(settings(group, entry, data, args, folder), args.images)
        row = {"group": group, "entry": entry, "data": data, **found}
        results["rows"].append(row)
        write_text(args.out, json.dumps(results, indent=1) + "\n")
        shutil.rmtree(folder)
        print(row, flush=True)


def train_and_measure(config: TokenizerRun, count: int) -> dict[str, float]:
    """Train a run, or go on with it, and measure its tokenizer on the first ``count`` held-out images."""
    folder = Path(config.out)
    if not (folder / "model").is_dir():
        train_tokenizer(**vars(config))
    tokenizer, _ = load_tokenizer(folder)
    held_out = ImageSet(open_source(config.data, held_out=True), config.data)
    count = min(count, len(held_out))
    perceptual = Perceptual(TokenizerLossConfig(perceptual=1.0))
    with torch.no_grad():
        values = reconstruction_error(tokenizer, held_out.read, count, criterion=perceptual)
    names = ("mse", "psnr_db", "ssim", "mse_p90", "codes_used", "perplexity", "border_ratio", "lattice")
    found = {name: values[name] for name in names}
    found["feature_distance"] = values["reconstruction_loss"]
    found["frechet_distance"] = frechet(tokenizer, held_out, count)
    if config.data.image_size >= 64:
        images = held_out.read(list(range(min(200, count))))
        found["far_changes"] = far_changes(tokenizer, images, tokenizer.receptive_field())
    found["parameters"] = sum(p.numel() for p in tokenizer.parameters())
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found["seconds"] = [line["seconds"] for line in lines if "seconds" in line][-1]
    return {k: round(v, 6) for k, v in found.items()}


def frechet(tokenizer: Autoencoder, held_out: ImageSet, count: int) -> float:
    """Distance of ``count`` reconstructions and their originals, in the features of a classifier that learns
    from all training images, whatever the entry saw."""
    data = dataclasses.replace(held_out.config, limit=0)
    evaluator = SampleEvaluator(open_source(data), data, held_out, held_out.source.class_names)
    distance = Distance(Space(evaluator.space.features, evaluator.space.name))
    for numbers in torch.arange(count).split(250):
        images = held_out.__getitems__(numbers.tolist())["images"]
        distance.add(images, tokenizer.decode(tokenizer.encode(from_levels(images))))
    return distance.figures()["reconstruction_frechet_distance"]


def write(args: argparse.Namespace) -> None:
    """Put the tables of a file between the page's markers."""
    results = json.loads(args.results.read_text())
    budget = results["budget"]
    precision = "bf16" if budget["bf16"] else "float32"
    lines = [
        f"{budget['steps']} steps of {budget['batch_size']} images, width {budget['width']} unless said, "
        f"learning rate {budget['learning_rate']:g}, {precision}, one seed; "
        f"measured on {budget['images']} held-out images."
    ]
    found = {(row["group"], row["entry"], row["data"]): row for row in results["rows"]}
    for group, (sets, entries) in GROUPS.items():
        for data in sets:
            rows = [found[key] for entry in entries if (key := (group, entry, data)) in found]
            if rows:
                lines += ["", f"**{group.capitalize()}, {data}**", "", *table(rows)]
    before, rest = args.page.read_text(encoding="utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    args.page.write_text("\n".join([before + MARKERS[0], *lines, MARKERS[1] + after]), encoding="utf-8")


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Lines of a table with the columns that all rows have."""
    columns = {title: spec for title, spec in COLUMNS.items() if all(spec[0] in row for row in rows)}
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        cells = [form.format(row[key]) for key, form in columns.values()]
        lines.append(f"| {row['entry']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parts = parser.add_subparsers(required=True)
    first = parts.add_parser("measure")
    first.add_argument("out", type=Path, help="JSON file of the results")
    names = "groups, entries, data sets, group/entry or group/entry/data"
    first.add_argument("--only", nargs="+", default=[], help=names)
    first.add_argument("--steps", type=int, default=1500)
    first.add_argument("--batch-size", type=int, default=32)
    first.add_argument("--learning-rate", type=float, default=2e-3)
    first.add_argument("--width", type=int, default=32)
    first.add_argument("--limit", type=int, default=0, help="training images; 0 means all")
    first.add_argument("--images", type=int, default=1000, help="held-out images that are measured")
    first.add_argument("--seed", type=int, default=0)
    first.add_argument("--bf16", action="store_true")
    runs = "folder of the runs; each is removed when it is measured"
    first.add_argument("--work", type=Path, default=Path("runs/tokenizer_table"), help=runs)
    first.set_defaults(call=measure)
    second = parts.add_parser("write")
    second.add_argument("results", type=Path)
    second.add_argument("page", type=Path)
    second.set_defaults(call=write)
    third = parts.add_parser("list")
    third.set_defaults(call=lambda args: print(*("/".join(names) for names in selected([])), sep="\n"))
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
