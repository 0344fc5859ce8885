"""How time and memory of a training step and of a drawing grow with tokens N, codes K, batch and steps.

One network, each of the four varied alone. Peak memory is what one call adds in a fresh process. The exponent
is the slope of log time over log value; operations alone would give a little over 1 for N (attention is
quadratic), under 1 for K and 1 for batch and steps. --plot draws all."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .peers import CLASSES, Sizes, clock_of, ours
from .timing import peak_megabytes, table, take_turns

TASKS = ("training step", "drawing")
NAMES = {"tokens": "N, tokens", "codes": "K, codes", "batch": "batch", "steps": "steps"}
COLOURS = {"training step": "#0072b2", "drawing": "#d55e00"}
STYLES = {"float32": "-", "bf16": "--"}
Row = dict[str, float | str]


def run(repeats: int, arguments: list[str]) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 144, 256, 576, 1024], help="squares")
    parser.add_argument("--codes", type=int, nargs="+", default=[1024, 256, 4096, 16384, 65536])
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 1, 2, 4, 8, 32])
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 2, 4, 16, 32])
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bf16"), default=["float32", "bf16"])
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--skip-memory", action="store_true", help="measure time only")
    parser.add_argument("--plot", default="", help="write all curves into this PNG")
    parser.add_argument("--kept", default="", help="plot the results in this JSON file; measure nothing")
    args = parser.parse_args(arguments)
    if args.kept:
        rows = json.loads(Path(args.kept).read_text(encoding="utf-8"))["rows"]
        plot(rows, args.plot)
        return rows
    print("the first value of each is kept while another varies")
    rows = [row for precision in args.precisions for row in measure(precision, args, repeats)]
    if args.plot:
        plot(rows, args.plot)
    return rows


def measure(precision: str, args: argparse.Namespace, repeats: int) -> list[Row]:
    """Every value of every factor in one precision, printed."""
    base = Sizes(args.width, args.depth, args.codes[0], math.isqrt(args.tokens[0]), args.batch[0],
                 args.steps[0], precision == "bf16", "cpu")  # fmt: skip
    found: list[Row] = []
    for factor in NAMES:
        values = sorted(getattr(args, factor))
        for task in TASKS[1:] if factor == "steps" else TASKS:
            calls = {str(value): make(task, varied(base, factor, value)) for value in values}
            seconds = take_turns(calls, repeats, clock_of(args.clock))
            del calls
            rows: list[Row] = []
            for value in values:
                memory = math.nan
                if not args.skip_memory:
                    memory = peak_megabytes(make, task, varied(base, factor, value))
                rows.append({
                    "precision": precision, "task": task, "factor": factor, "value": value,
                    "seconds": seconds[str(value)], "megabytes": memory,
                })  # fmt: skip
            print(f"\n{task}, {precision}, by {NAMES[factor]}: exponent {exponent(rows):.2f}")
            table([NAMES[factor], "ms", "peak MB"],
                  [[str(r["value"]), float(r["seconds"]) * 1e3, r["megabytes"]] for r in rows])  # fmt: skip
            found += rows
    return found


def varied(base: Sizes, factor: str, value: int) -> Sizes:
    """The base with another value of one factor."""
    if factor == "tokens":
        factor, value = "side", math.isqrt(value)
    return dataclasses.replace(base, **{factor: value})


def make(task: str, sizes: Sizes, warm: bool = False) -> Callable[[], object]:
    """One call of a task; ``warm`` is the same at a toy size."""
    torch.manual_seed(0)
    one = ours(
        dataclasses.replace(sizes, width=64, depth=1, codes=8, side=2, batch=1, steps=1) if warm else sizes
    )
    one.network.train(task == "training step")
    labels = torch.arange(1 if warm else sizes.batch) % CLASSES
    return one.step if task == "training step" else lambda: one.draws["confidence"](labels)


def exponent(rows: list[Row]) -> float:
    """Slope of log time over log value."""
    x, y = ([float(row[name]) for row in rows] for name in ("value", "seconds"))
    return float(np.polyfit(np.log(x), np.log(y), 1)[0]) if len(rows) > 1 else math.nan


def plot(rows: list[Row], path: str) -> None:
    """Time above, memory below, a column per factor; both axes logarithmic."""
    figure = Figure(figsize=(14, 6.4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(NAMES), sharex="col")
    for column, (factor, name) in enumerate(NAMES.items()):
        values = sorted({float(row["value"]) for row in rows if row["factor"] == factor})
        for line, (key, unit) in enumerate((("seconds", "seconds"), ("megabytes", "peak MB"))):
            axes = grid[line, column]
            for (task, colour), (precision, style) in itertools.product(COLOURS.items(), STYLES.items()):
                about = (factor, task, precision)
                own = [row for row in rows if (row["factor"], row["task"], row["precision"]) == about]
                if own:
                    slope = f", exponent {exponent(own):.2f}" if key == "seconds" else ""
                    axes.plot(
                        [row["value"] for row in own], [row[key] for row in own],
                        color=colour, linestyle=style, marker="o", label=f"{task}, {precision}{slope}",
                    )  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            middle = math.sqrt(low * high)
            axes.set_ylim(min(low, middle / 4), max(high, middle * 4))  # noise shall not look like growth
            axes.set_xticks(values, [f"{value:,.0f}" for value in values], fontsize=8)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(True, alpha=0.3)
            axes.set_ylabel(unit if not column else "")
            if line:
                axes.set_xlabel(name)
            else:
                axes.legend(fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
