"""Plots of docs/baselines.md: quality over calls and over seconds, and over the share of random codes. Drawn by scripts/figures.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .entries import ENTRIES, SHARE_CALLS, SHARE_SAMPLERS, SHARES
from .tables import FIGURES

HUES = {
    "hybrid": "#3b6fb6", "absorbing": "#2f8f6b", "uniform": "#e69a2e", "multinomial": "#b58900", "dense_uniform": "#c9772b",
    "dense_absorbing": "#7aa37a", "maskgit": "#c23b4b", "masked_diffusion": "#8a5fb0", "autoregressive": "#30343b", "argmax_flow": "#70757e",
}  # fmt: skip


def read(path: Path = FIGURES) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def best(figures: dict[str, Any], entry: str) -> list[dict[str, Any]]:
    """Of each number of calls without guidance, the row of the sampler with the least Fréchet distance."""
    rows = [r for r in figures["rows"] if r["group"] == "peers" and r["entry"] == entry and r["guidance"] == 1]
    found = {
        calls: min((r for r in rows if r["calls"] == calls), key=lambda r: r["frechet_distance"]) for calls in {r["calls"] for r in rows}
    }
    return [found[calls] for calls in sorted(found)]


def baselines_figure(path: Path = FIGURES) -> Figure:
    """Fréchet distance over calls (left) and over seconds for 1,000 images (right), each method with its best sampler at each point."""
    figures = read(path)
    figure, grid = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    for axes, across in zip(grid, ("calls", "seconds_per_1000"), strict=True):
        for entry, color in HUES.items():
            rows = best(figures, entry)
            points = [r[across] for r in rows], [r["frechet_distance"] for r in rows]
            width = 2.6 if entry == "hybrid" else 1.4
            axes.plot(*points, "o-", color=color, linewidth=width, markersize=5, label=ENTRIES[entry].title if rows else None)
        axes.set(xscale="log", yscale="log")
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    calls = sorted({r["calls"] for r in figures["rows"] if r["group"] == "peers"})
    whole(grid[0], calls)
    grid[0].set_xlabel("network calls an image")
    grid[1].set_xlabel("seconds for 1,000 images")
    grid[0].set_ylabel("Fréchet distance (lower is better)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    return figure


def whole(axes: Axes, ticks: list[int]) -> None:
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()


def share_figure(path: Path = FIGURES) -> Figure:
    """Fréchet distance over the share of random codes: a number of calls a panel, a sampler a colour, dashed with self-correction."""
    rows = [r for r in read(path)["rows"] if r["group"] == "share"]
    place = {name: number for number, name in enumerate(SHARES.values())}  # the shares are not evenly apart, their places are
    figure, grid = plt.subplots(1, len(SHARE_CALLS), figsize=(11, 4.6), sharey=True, layout="constrained", squeeze=False)
    for axes, calls in zip(grid[0], SHARE_CALLS, strict=True):
        for sampler, color in zip(SHARE_SAMPLERS, HUES.values(), strict=False):
            of = [r for r in rows if r["sampler"] == sampler and r["calls"] == calls]
            for corrected, style in ((False, "o-"), (True, "s--")):
                points = sorted((place[r["entry"]], r["frechet_distance"]) for r in of if bool(r["correct_steps"]) == corrected)
                label = sampler if not corrected else None
                axes.plot([x for x, _ in points], [y for _, y in points], style, color=color, linewidth=1.6, markersize=5, label=label)
        axes.set_xticks(range(len(SHARES)), [f"{s:g}" for s in SHARES])
        axes.set_title(f"{calls} calls (dashed: a quarter of them corrects)", loc="left", weight="bold")
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    grid[0][0].set_ylabel("Fréchet distance (lower is better)")
    figure.supxlabel("share of random codes among the corrupted", fontsize=11)
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    return figure
