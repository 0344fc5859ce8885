"""Plots of docs/baselines.md: quality over calls and over seconds, and over the share of random codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from benchmarks.baselines.entries import ENTRIES, SHARE_CALLS, SHARE_SAMPLERS, SHARES

from .tables.baselines import FILE
from .tables.layout import load

COLORS = {
    "hybrid": "#3b6fb6",
    "absorbing": "#2f8f6b",
    "uniform": "#e69a2e",
    "multinomial": "#b58900",
    "dense_uniform": "#c9772b",
    "dense_absorbing": "#7aa37a",
    "maskgit": "#c23b4b",
    "masked_diffusion": "#8a5fb0",
    "autoregressive": "#30343b",
    "argmax_flow": "#70757e",
}


def best(results: dict[str, Any], entry: str) -> list[dict[str, Any]]:
    """Of each number of calls without guidance, the row of the sampler with the least Fréchet distance."""
    rows = [r for r in results["rows"] if (r["group"], r["entry"], r["guidance"]) == ("peers", entry, 1)]
    found: dict[int, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: (r["calls"], r["frechet_distance"])):
        found.setdefault(row["calls"], row)
    return list(found.values())


def methods_figure(path: Path = FILE) -> Figure:
    """Fréchet distance over calls (left) and over seconds for 1,000 images (right), each method with its best
    sampler at each point."""
    results = load(path)
    figure, grid = plt.subplots(1, 2, figsize=(11, 4.6), sharey=True, layout="constrained")
    for axes, across in zip(grid, ("calls", "seconds_per_1000"), strict=True):
        for entry, color in COLORS.items():
            rows = best(results, entry)
            points = [r[across] for r in rows], [r["frechet_distance"] for r in rows]
            width = 2.6 if entry == "hybrid" else 1.4
            label = ENTRIES[entry].title if rows else None
            axes.plot(*points, "o-", color=color, linewidth=width, markersize=5, label=label)
        axes.set(xscale="log", yscale="log")
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    calls = sorted({r["calls"] for r in results["rows"] if r["group"] == "peers"})
    grid[0].set_xticks(calls, [str(number) for number in calls])
    grid[0].minorticks_off()
    grid[0].set_xlabel("network calls per image")
    grid[1].set_xlabel("seconds for 1,000 images")
    grid[0].set_ylabel("Fréchet distance (lower is better)")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    return figure


def share_figure(path: Path = FILE) -> Figure:
    """Fréchet distance over the share of random codes: one panel per number of calls, one colour per sampler,
    dashed with self-correction."""
    rows = [r for r in load(path)["rows"] if r["group"] == "share"]
    position = {name: x for x, name in enumerate(SHARES.values())}  # even, unlike the shares themselves
    figure, grid = plt.subplots(1, len(SHARE_CALLS), figsize=(11, 4.6), sharey=True, layout="constrained")
    for axes, calls in zip(grid, SHARE_CALLS, strict=True):
        for sampler, color in zip(SHARE_SAMPLERS, COLORS.values(), strict=False):
            found = [r for r in rows if r["sampler"] == sampler and r["calls"] == calls]
            for corrected, style in ((False, "o-"), (True, "s--")):
                shown = [r for r in found if bool(r["correct_steps"]) == corrected]
                points = sorted((position[r["entry"]], r["frechet_distance"]) for r in shown)
                x, y = zip(*points, strict=True) if points else ((), ())
                label = None if corrected else sampler
                axes.plot(x, y, style, color=color, linewidth=1.6, markersize=5, label=label)
        axes.set_xticks(range(len(SHARES)), [f"{s:g}" for s in SHARES])
        axes.set_title(f"{calls} calls (dashed: a quarter of them corrects)", loc="left", weight="bold")
        axes.grid(axis="y", color="#e4e6ea", linewidth=0.8)
    grid[0].set_ylabel("Fréchet distance (lower is better)")
    figure.supxlabel("share of random codes among the corrupted", fontsize=11)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    return figure
