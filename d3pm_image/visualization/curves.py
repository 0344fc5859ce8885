"""Curves as images, drawn by matplotlib without a display: quality over network calls, and a training from
its log."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..image_io import opened
from ..imaging import save_image
from ..training.monitor import read_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[float, float]
SIZE = (1200, 720)
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c613c", "#4d4d4d",
    "#b8a800", "#c8102e",
)  # fmt: skip
MARKERS = "os^D"
DPI = 100


def best_line(points: Sequence[Point], lower: bool) -> list[Point]:
    """The best value at every place of the x axis, from left to right."""
    best: dict[float, float] = {}
    for x, y in points:
        best[x] = y if x not in best else (min if lower else max)(best[x], y)
    return sorted(best.items())


def draw_chart(
    series: dict[str, list[Point]],
    title: str,
    x_label: str,
    y_label: str,
    lower: bool = True,
    best: Point | None = None,
) -> Image.Image:
    """Named series over log2 x: all points, a line through each series' best value at every x, and a legend.

    Args:
        series: (x, y) pairs, x > 0; at least one in all.
        lower: Whether lower is better.
        best: The point to put a ring around.
    """
    figure = new_figure()
    axes = figure.subplots()
    for number, (name, points) in enumerate(series.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        line = best_line(points, lower)
        others = [point for point in points if point not in line]
        axes.plot(*zip(*line, strict=True), color=colour, marker=marker, label=name)
        if others:
            axes.plot(
                *zip(*others, strict=True),
                color=colour,
                marker=marker,
                markerfacecolor="white",
                markersize=4,
                linestyle="none",
            )
    if best is not None:
        axes.plot(*best, "o", color="black", markersize=16, markerfacecolor="none", label="chosen")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(axis="y", color="#e4e4e4")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return to_image(figure)


def training_curves(folder: Path) -> Path | None:
    """Draw ``curves.png`` of a run from its log: the loss, and the held-out measure if there is one.

    Returns:
        The file; None for a log without a loss.
    """
    lines = [line for _, line in read_lines(folder / "log.jsonl") if line is not None]
    measures = {name: label for name, label in (("loss", "training"), ("val_score", "held out (val_score)"))}
    curves = {label: points for name, label in measures.items() if (points := points_of(lines, name))}
    if measures["loss"] not in curves:
        return None
    figure = new_figure()
    for number, (label, points) in enumerate(curves.items()):
        axes = figure.add_subplot(len(curves), 1, number + 1)
        axes.plot(*zip(*points, strict=True), color=COLOURS[number])
        axes.set(xlabel="step", ylabel=label)
        axes.grid(axis="y", color="#e4e4e4")
    save_image(to_image(figure), folder / "curves.png")
    return folder / "curves.png"


def points_of(lines: Sequence[dict], name: str) -> list[Point]:
    """(step, value) of every line of a log that has a finite number of that name."""
    found = [(line["step"], line.get(name)) for line in lines]
    return [
        (step, float(value))
        for step, value in found
        if isinstance(value, (int, float)) and abs(value) < float("inf")
    ]


def new_figure() -> Figure:
    """A figure of :data:`SIZE` without display or global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(SIZE[0] / DPI, SIZE[1] / DPI), dpi=DPI, layout="constrained")


def to_image(figure: Figure) -> Image.Image:
    """A figure as an RGB image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    with opened(file, formats=("PNG",)) as image:
        return image.convert("RGB")
