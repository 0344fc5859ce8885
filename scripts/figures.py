"""The figures of docs/derivation, computed by the package's own schedules and loss coefficients, and the
plots of docs/samplers.md and docs/baselines.md.

    python -m scripts.figures [--out docs/figures]

Writes marginals.png (what becomes of a token over time, one panel per schedule) and weights.png (what the
variational bound multiplies a token's divergence with, discrete and continuous time) and, from docs/results,
samplers.png (quality over network calls), baselines.png and uniform_share.png."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from d3pm_image.config import ProcessConfig
from d3pm_image.diffusion import Process
from d3pm_image.diffusion.terms import coefficients

from . import baseline_plots
from .tables.baselines import FILE
from .tables.layout import read

CODES = 512
STEPS = 100
CLEAN, RANDOM, MASKED, INK = "#3b6fb6", "#e69a2e", "#c9ccd1", "#30343b"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.dpi": 150,
}
PANELS = {
    ("linear", "masks only (MDLM)"): ProcessConfig(corruption="linear", uniform_share=0.0),
    ("cosine", "masks only (MaskGIT, MD4)"): ProcessConfig(corruption="cosine", uniform_share=0.0),
    ("offset_cosine", "random codes only (multinomial)"): ProcessConfig(
        corruption="offset_cosine",
        uniform_share=1.0,
    ),
    ("vq_diffusion", "w = 0.1, 100 steps"): ProcessConfig(
        corruption="vq_diffusion",
        uniform_share=0.1,
        steps=100,
    ),
    ("polynomial, power 2", "w = 0.1"): ProcessConfig(corruption="polynomial", uniform_share=0.1, power=2.0),
    ("mutual_information", "w = 0.5, 512 codes"): ProcessConfig(
        corruption="mutual_information",
        uniform_share=0.5,
    ),
    ("gidd", "share 0.2 at t = ½"): ProcessConfig(corruption="gidd", uniform_share=0.2),
    ("linear, scramble cosine", "0.6 of the unmasked at the end"): ProcessConfig(
        corruption="linear",
        scramble="cosine",
        uniform_share=0.6,
    ),
}
DOTS = {"markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.8}
STATES = (
    ("at_mask", "masked", "#70757e", -20),
    ("at_other", "replaced", "#d98410", 10),
    ("at_same", "kept", CLEAN, 10),
)
FAMILIES = {
    "by confidence": ("confidence",),
    "by other orders": ("entropy", "margin", "halton"),
    "the process's own steps": ("ancestral", "first_hitting", "purity"),
    "continuous-time chain": ("ctmc",),
    "noise again": ("renoise", "predictor_corrector"),
    "remasking": ("remask",),
}
COLORS = (CLEAN, RANDOM, "#2f8f6b")
PROCESSES = {"absorbing (w = 0)": 0.0, "hybrid (w = 0.1)": 0.1, "uniform (w = 1)": 1.0}


def marginals(process: Process, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shares (n,) of clean, random and masked tokens at times t (n,): a = gκ, b = g(1-κ), c = 1-g."""
    g, kappa = process.schedule.survival(t)
    return g * kappa, g * (1 - kappa), 1 - g


def weights(share: float, steps: int, t: Tensor) -> dict[str, Tensor]:
    """The bound's weight of each state at times t (n,) of a linear process; NaN where the process has no such
    token."""
    process = Process.from_config(ProcessConfig(corruption="linear", uniform_share=share, steps=steps), CODES)
    c = coefficients(process, t)
    values = {name: c.scale * getattr(c, name) for name, *_ in STATES}
    return {name: torch.where(value > 0, value, torch.nan) for name, value in values.items()}


def mark_time(axes: Axes) -> None:
    """Ticks at 0, ½ and 1; the outer labels turn inwards, so that neighbouring panels do not collide."""
    axes.set_xlim(0, 1)
    axes.set_xticks((0, 0.5, 1), ("0", "½", "1"))
    for tick, side in zip(axes.xaxis.get_major_ticks(), ("left", "center", "right"), strict=True):
        tick.label1.set_horizontalalignment(side)


def marginals_figure() -> Figure:
    t = torch.linspace(0, 1, 401, dtype=torch.float64)
    figure, grid = plt.subplots(2, 4, figsize=(11, 5.6), sharex=True, sharey=True, layout="constrained")
    for axes, ((title, detail), config) in zip(grid.flat, PANELS.items(), strict=True):
        shares = [share.numpy() for share in marginals(Process.from_config(config, CODES), t)]
        axes.stackplot(t.numpy(), *shares, colors=(CLEAN, RANDOM, MASKED), linewidth=0)
        axes.set(ylim=(0, 1), yticks=(0, 0.5, 1), yticklabels=("0", "½", "1"))
        axes.set_title(f"{title}\n", loc="left", weight="bold")
        axes.text(0, 1.04, detail, transform=axes.transAxes, color="#5b616b", fontsize=10)
        mark_time(axes)
    grid[0, 0].text(0.06, 0.2, "clean\n$a = g\\kappa$", color="white", linespacing=1.4)
    grid[0, 0].text(0.94, 0.66, "masked\n$c = 1-g$", ha="right", linespacing=1.4)
    grid[0, 2].text(0.94, 0.66, "random\n$b = g(1-\\kappa)$", ha="right", linespacing=1.4)
    figure.supxlabel("time $t$: 0 is clean, 1 is noise", fontsize=11)
    figure.supylabel("share of the tokens", fontsize=11)
    return figure


def weights_figure() -> Figure:
    fine = torch.linspace(0.003, 0.997, 600, dtype=torch.float64)
    coarse = torch.arange(2, STEPS, 7, dtype=torch.float64) / STEPS
    figure, grid = plt.subplots(1, 3, figsize=(11, 4.3), sharey=True, layout="constrained")
    for axes, (title, share) in zip(grid, PROCESSES.items(), strict=True):
        smooth, steps = weights(share, 0, fine), weights(share, STEPS, coarse)
        for name, label, color, above in STATES:
            if bool(smooth[name].isnan().all()):
                continue
            axes.plot(fine, smooth[name], color=color, linewidth=2)
            axes.plot(coarse, steps[name], "o", color=color, **DOTS)
            point = (0.4, float(smooth[name][240]))
            style = {"textcoords": "offset points", "ha": "center", "color": color, "weight": "bold"}
            axes.annotate(label, point, xytext=(0, above), **style)
        axes.set(yscale="log", ylim=(1e-4, 1e3))
        axes.set_title(title, loc="left", weight="bold")
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
        axes.minorticks_off()
        axes.set_axisbelow(True)
        mark_time(axes)
    grid[0].plot([], [], color=INK, linewidth=2, label="continuous time")
    grid[0].plot([], [], "o", color=INK, markersize=5.5, label=f"{STEPS} steps")
    grid[0].legend(loc="lower right", frameon=False)
    grid[0].set_ylabel("weight of a token in the bound")
    figure.supxlabel("time $t$: 0 is clean, 1 is noise", fontsize=11)
    return figure


def samplers_figure() -> Figure:
    """Fréchet distance over steps: one panel per family of samplers, all others in grey."""
    series: dict[str, dict[int, float]] = {}
    for row in read("fashion_mnist_samplers")["rows"]:
        series.setdefault(row["name"], {})[row["steps"]] = row["frechet_distance"]
    figure, grid = plt.subplots(2, 3, figsize=(11, 6), sharex=True, sharey=True, layout="constrained")
    for axes, (title, names) in zip(grid.flat, FAMILIES.items(), strict=True):
        for values in series.values():
            axes.plot(*zip(*sorted(values.items()), strict=True), color="#d9dce1", linewidth=1.2)
        for name, color in zip((n for n in series if n.split(",")[0] in names), COLORS, strict=False):
            points = zip(*sorted(series[name].items()), strict=True)
            axes.plot(*points, "o-", color=color, linewidth=2, markersize=5, label=name)
        axes.set(xscale="log", yscale="log", ylim=(0.7, 4))
        axes.set_xticks((4, 8, 16, 32, 64), ("4", "8", "16", "32", "64"))
        axes.set_yticks((0.7, 1, 2, 4), ("0.7", "1", "2", "4"))
        axes.minorticks_off()
        axes.set_title(title, loc="left", weight="bold")
        axes.legend(frameon=False, loc="upper right", fontsize=9)
    figure.supxlabel("steps, which is network calls per image", fontsize=11)
    figure.supylabel("Fréchet distance (lower is better)", fontsize=11)
    return figure


def save(figure: Figure, path: Path) -> None:
    """A PNG of 64 colours: flat areas and lines need no more, and it is a third of the size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {"marginals": marginals_figure, "weights": weights_figure, "samplers": samplers_figure}
    if FILE.is_file():
        drawn |= {"baselines": baseline_plots.methods_figure, "uniform_share": baseline_plots.share_figure}
    for name, draw in drawn.items():
        with plt.rc_context(STYLE):
            figure = draw()
            save(figure, folder / f"{name}.png")
        plt.close(figure)


if __name__ == "__main__":
    main()
