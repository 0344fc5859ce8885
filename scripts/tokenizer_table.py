#!/usr/bin/env python
"""Quantizers, losses, widths, norms and paddings of the tokenizer, each trained for the same short budget.

    python scripts/tokenizer_table.py measure docs/results/tokenizer_table.json --steps 1500 --only quantizers losses
    python scripts/tokenizer_table.py write docs/results/tokenizer_table.json docs/tokenizer.md

``measure`` goes on where an earlier call stopped, in the middle of a training too; the budget of a file is fixed by its first call.
``--only`` takes groups, entries or ``group/entry``; ``list`` prints them. ``write`` puts the tables between the page's markers.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

FASHION, EUROSAT = "fashion_mnist", "eurosat"
SETS = {FASHION: {"image_size": 28, "channels": 1, "flip": True}, EUROSAT: {"image_size": 64, "channels": 3, "flip": True}}
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
            "l2 + adversarial, fixed weight": {"loss": {"adversarial": {"weight": 0.05, "width": 32, "adaptive": False}}},
            "l2 + adversarial": {"loss": {"adversarial": {"weight": 0.3, "width": 32}}},
            "l2 + features + adversarial": {"loss": {"perceptual": 0.1, "adversarial": {"weight": 0.3, "width": 32}}},
        },
    ),
    "widths": (
        (FASHION, EUROSAT),
        {"width 16": {"width": 16}, "width 32": {"width": 32}, "width 64": {"width": 64}, "width 16, 2 blocks": {"width": 16, "blocks": 2}},
    ),
    "norms and paddings": (
        (EUROSAT,),
        {
            f"{norm}, {padding}": {"norm": norm, "padding": padding}
            for norm in ("group", "channel")
            for padding in ("zeros", "replicate", "reflect")
        },
    ),
}
COLUMNS = {
    "PSNR, dB": ("psnr_db", "{:.2f}"), "SSIM": ("ssim", "{:.3f}"), "feature distance": ("feature_distance", "{:.3f}"),
    "Fréchet distance": ("frechet_distance", "{:.3f}"),
    "codes used": ("codes_used", "{:.0f}"), "perplexity": ("perplexity", "{:.0f}"), "border / inside": ("border_ratio", "{:.2f}"),
    "codes changed by a far edit": ("far_changes", "{:.2%}"), "seconds": ("seconds", "{:.0f}"),
}  # fmt: skip
MARKERS = ("<!-- tables begin -->", "<!-- tables end -->")


def chosen(only: list[str]) -> list[tuple[str, str, str]]:
    """(group, entry, data) of everything asked for.

    Raises:
        SystemExit: a name that is neither a group nor an entry.
    """
    every = [(group, entry, data) for group, (sets, entries) in GROUPS.items() for entry in entries for data in sets]
    known = {n for g, e, d in every for n in (g, e, d, f"{g}/{e}", f"{g}/{e}/{d}")}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise SystemExit(f"no group, entry or data set is named {unknown[0]!r}; see `list`")
    return [(g, e, d) for g, e, d in every if not only or {g, e, d, f"{g}/{e}", f"{g}/{e}/{d}"} & set(only)]


def settings(group: str, entry: str, data: str, args: argparse.Namespace, out: Path):
    """The run of one entry. All of a data set share images, order, steps and learning rate."""
    from d3pm_image.config import AdversarialConfig, DataConfig, TokenizerConfig, TokenizerLossConfig, TokenizerRun, TrainConfig

    changes = dict(GROUPS[group][1][entry])
    loss = dict(changes.pop("loss", {}))
    if "adversarial" in loss:  # a fifth of the run alone, a fifth to rise: whatever the budget, it counts for most of it
        fifth = args.steps // 5
        loss["adversarial"] = AdversarialConfig(**{"warmup_steps": fifth, "ramp_steps": fifth, **loss["adversarial"]})
    pace = max(1, args.steps // 4)
    train = TrainConfig(
        steps=args.steps, batch_size=args.batch_size, learning_rate=args.learning_rate, warmup_steps=min(50, pace), ema=0.998,
        mixed_precision="bf16" if args.bf16 else "no", preview_every=0, checkpoint_every=pace, log_every=min(20, pace), seed=args.seed,
    )  # fmt: skip
    return TokenizerRun(
        out=str(out),
        resume=(out / "checkpoints").is_dir(),
        data=DataConfig(source=data, **SETS[data], limit=args.limit),
        tokenizer=TokenizerConfig.from_values({"width": args.width, **changes}),
        loss=TokenizerLossConfig(**loss),
        train=train,
    )


def measure(args: argparse.Namespace) -> None:
    from d3pm_image.storage import write_text

    budget = {k: getattr(args, k) for k in ("steps", "batch_size", "learning_rate", "width", "limit", "images", "bf16", "seed")}
    done = json.loads(args.out.read_text()) if args.out.is_file() else {"budget": budget, "rows": []}
    if done["budget"] != budget:
        raise SystemExit(f"{args.out} was begun with the budget {done['budget']}; give the same, or another file")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for group, entry, data in chosen(args.only):
        if any((row["group"], row["entry"], row["data"]) == (group, entry, data) for row in done["rows"]):
            continue
        folder = args.work / f"{group} {entry} {data}".replace(" ", "_").replace(",", "")
        row = {"group": group, "entry": entry, "data": data, **train_and_judge(settings(group, entry, data, args, folder), args.images)}
        done["rows"].append(row)
        write_text(args.out, json.dumps(done, indent=1) + "\n")
        shutil.rmtree(folder)
        print(row, flush=True)


def train_and_judge(config, count: int) -> dict[str, float]:
    """Train a run, or go on with it, and measure its tokenizer on the first ``count`` held-out images."""
    import torch

    from d3pm_image import train_tokenizer
    from d3pm_image.config import TokenizerLossConfig
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source
    from d3pm_image.evaluation.reconstruction import Distance, Space
    from d3pm_image.evaluation.samples import Judge
    from d3pm_image.metrics.edit_locality import far_changes
    from d3pm_image.metrics.reconstruction import reconstruction_error
    from d3pm_image.tokenizer import load_tokenizer
    from d3pm_image.tokenizer.perceptual import Perceptual

    folder = Path(config.out)
    if not (folder / "model").is_dir():
        train_tokenizer(**vars(config))
    tokenizer, _ = load_tokenizer(folder)
    held_out = ImageSet(open_source(config.data, held_out=True), config.data)
    count = min(count, len(held_out))
    judge = Perceptual(TokenizerLossConfig(perceptual=1.0))
    with torch.no_grad():
        values = reconstruction_error(tokenizer, held_out.read, count, judge=judge)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    found = {k: values[k] for k in ("mse", "psnr_db", "ssim", "mse_p90", "codes_used", "perplexity", "border_ratio")}
    found["feature_distance"] = values["judged"]
    data = dataclasses.replace(config.data, limit=0)  # the judge learns from all training images, whatever the entry saw
    judge = Judge(open_source(data), data, held_out, held_out.source.class_names)
    distance = Distance(Space(judge.space.features, judge.space.name))
    for numbers in torch.arange(count).split(250):
        images = held_out.__getitems__(numbers.tolist())["images"]
        distance.add(images, tokenizer.decode(tokenizer.encode(images.float() / 255)))
    found["frechet_distance"] = distance.figures()["reconstruction_frechet_distance"]
    if config.data.image_size >= 64:
        found["far_changes"] = far_changes(tokenizer, held_out.read(list(range(min(200, count)))), tokenizer.receptive_field())
    found["parameters"] = sum(p.numel() for p in tokenizer.parameters())
    found["seconds"] = [line["seconds"] for line in lines if "seconds" in line][-1]
    return {k: round(v, 6) for k, v in found.items()}


def write(args: argparse.Namespace) -> None:
    figures = json.loads(args.figures.read_text())
    budget = figures["budget"]
    lines = [
        f"{budget['steps']} steps of {budget['batch_size']} images, width {budget['width']} unless said, learning rate "
        f"{budget['learning_rate']:g}, {'bf16' if budget['bf16'] else 'float32'}, one seed; measured on {budget['images']} held-out images.",
    ]
    for group, (sets, entries) in GROUPS.items():
        for data in sets:
            rows = [r for e in entries for r in figures["rows"] if (r["group"], r["entry"], r["data"]) == (group, e, data)]
            if not rows:
                continue
            columns = {title: spec for title, spec in COLUMNS.items() if all(spec[0] in row for row in rows)}
            lines += ["", f"**{group.capitalize()}, {data}**", "", f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
            lines += [f"| {r['entry']} | " + " | ".join(form.format(r[key]) for key, form in columns.values()) + " |" for r in rows]
    page = args.page.read_text(encoding="utf-8")
    before, rest = page.split(MARKERS[0])
    args.page.write_text(before + MARKERS[0] + "\n" + "\n".join(lines) + "\n" + MARKERS[1] + rest.split(MARKERS[1])[1], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    first = parts.add_parser("measure")
    first.add_argument("out", type=Path, help="JSON file of the figures")
    first.add_argument("--only", nargs="+", default=[], help="groups, entries, data sets, group/entry or group/entry/data")
    first.add_argument("--steps", type=int, default=1500)
    first.add_argument("--batch-size", type=int, default=32)
    first.add_argument("--learning-rate", type=float, default=2e-3)
    first.add_argument("--width", type=int, default=32)
    first.add_argument("--limit", type=int, default=0, help="training images; 0 means all")
    first.add_argument("--images", type=int, default=1000, help="held-out images that are measured")
    first.add_argument("--seed", type=int, default=0)
    first.add_argument("--bf16", action="store_true")
    first.add_argument(
        "--work", type=Path, default=Path("runs/tokenizer_table"), help="folder of the runs; each is removed when it is measured"
    )
    first.set_defaults(call=measure)
    second = parts.add_parser("write")
    second.add_argument("figures", type=Path)
    second.add_argument("page", type=Path)
    second.set_defaults(call=write)
    third = parts.add_parser("list")
    third.set_defaults(call=lambda args: print(*("/".join(names) for names in chosen([])), sep="\n"))
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
