"""A small chart: coloured series over a logarithmic axis, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
SIZE, LEFT, RIGHT, TOP, BOTTOM = (1200, 720), 110, 260, 56, 84
FINER = 3  # drawn so many times larger, then reduced: smooth edges
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c613c", "#4d4d4d", "#b8a800", "#c8102e")
SHAPES = ("circle", "square", "triangle", "diamond")


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` onto pixels from ``first`` to ``last``, with labelled ticks."""

    low: float
    high: float
    first: float
    last: float
    ticks: tuple[tuple[float, str], ...]

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def linear_axis(values: Sequence[float], first: float, last: float) -> Axis:
    """An axis a little wider than the values, with about six ticks at round numbers."""
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    power = 10.0 ** math.floor(math.log10((high - low) / 6))
    step = next(f * power for f in (1, 2, 5, 10) if f * power * 6 >= high - low)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return Axis(low, high, first, last, tuple((n * step, f"{n * step:.{digits}f}") for n in numbers))


def log2_axis(values: Sequence[float], first: float, last: float) -> Axis:
    """An axis of log2 of positive values, with ticks at the powers of two around them."""
    low, high = math.floor(math.log2(min(values)) + 1e-9), math.ceil(math.log2(max(values)) - 1e-9)
    low, high = (low - 1, high + 1) if low == high else (low, high)
    return Axis(low - 0.15, high + 0.15, first, last, tuple((n, f"{2.0**n:g}") for n in range(low, high + 1)))


def best_line(points: Sequence[Point], lower: bool) -> list[Point]:
    """The best value at every place of the x axis, from left to right."""
    best: dict[float, float] = {}
    for x, y in points:
        best[x] = y if x not in best else (min if lower else max)(best[x], y)
    return sorted(best.items())


class Canvas:
    """A finer sheet of paper, measured in the final picture's pixels."""

    def __init__(self):
        self.sheet = Image.new("RGB", (SIZE[0] * FINER, SIZE[1] * FINER), "white")
        self.pen = ImageDraw.Draw(self.sheet)
        self.font = ImageFont.load_default(size=17 * FINER)

    def line(self, points: Sequence[Point], colour: str, width: float) -> None:
        """A line through points in pixels."""
        self.pen.line([(x * FINER, y * FINER) for x, y in points], fill=colour, width=round(width * FINER), joint="curve")

    def text(self, place: Point, words: str, anchor: str) -> None:
        """Words at a place in pixels; ``anchor`` as Pillow names it."""
        self.pen.text((place[0] * FINER, place[1] * FINER), words, fill="#333333", font=self.font, anchor=anchor)

    def upright(self, place: Point, words: str) -> None:
        """Text that runs upward, centred at a place."""
        box = self.font.getbbox(words)
        strip = Image.new("RGB", (math.ceil(box[2]) + 2, math.ceil(box[3]) + 2), "white")
        ImageDraw.Draw(strip).text((0, 0), words, fill="#333333", font=self.font)
        strip = strip.rotate(90, expand=True)
        self.sheet.paste(strip, (round(place[0] * FINER - strip.width / 2), round(place[1] * FINER - strip.height / 2)))

    def marker(self, place: Point, shape: str, colour: str, radius: float, filled: bool = True) -> None:
        """A sign of a measured point, filled or hollow."""
        x, y, r = place[0] * FINER, place[1] * FINER, radius * FINER
        style: dict[str, Any] = {"fill": colour if filled else "white", "outline": colour, "width": round(1.8 * FINER)}
        if shape == "circle":
            self.pen.ellipse((x - r, y - r, x + r, y + r), **style)
        elif shape == "square":
            self.pen.rectangle((x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r), **style)
        elif shape == "triangle":
            self.pen.polygon([(x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)], **style)
        else:
            self.pen.polygon([(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], **style)

    def ring(self, place: Point, radius: float) -> None:
        """A black circle around a place."""
        x, y, r = place[0] * FINER, place[1] * FINER, radius * FINER
        self.pen.ellipse((x - r, y - r, x + r, y + r), outline="black", width=round(2 * FINER))

    def picture(self) -> Image.Image:
        """The drawing at its final size, its edges smoothed."""
        return self.sheet.resize(SIZE, Image.Resampling.LANCZOS)


def draw_frame(canvas: Canvas, x_axis: Axis, y_axis: Axis, title: str, x_label: str, y_label: str) -> None:
    """Grid lines, axes and their words."""
    left, right, bottom, top = x_axis.first, x_axis.last, y_axis.first, y_axis.last
    for value, words in y_axis.ticks:
        canvas.line([(left, y_axis(value)), (right, y_axis(value))], "#e4e4e4", 1)
        canvas.text((left - 10, y_axis(value)), words, "rm")
    for value, words in x_axis.ticks:
        canvas.line([(x_axis(value), bottom), (x_axis(value), bottom + 6)], "#333333", 1.2)
        canvas.text((x_axis(value), bottom + 12), words, "ma")
    canvas.line([(left, top), (left, bottom), (right, bottom)], "#333333", 1.2)
    canvas.text((left, top - 14), title, "ls")
    canvas.text(((left + right) / 2, bottom + 44), x_label, "ma")
    canvas.upright((28, (top + bottom) / 2), y_label)


def draw_chart(
    series: dict[str, list[Point]], title: str, x_label: str, y_label: str, lower: bool = True, best: Point | None = None
) -> Image.Image:
    """A picture of named series over log2 x: all points, a line through each series' best value at every x, a legend.

    Args:
        series: (x, y) pairs, x > 0; at least one in all.
        title, x_label, y_label: ASCII text (the built-in font has little else).
        lower: Whether small values are the good ones.
        best: The point to put a ring around.
    """
    x_axis = log2_axis([x for points in series.values() for x, _ in points], LEFT, SIZE[0] - RIGHT)
    y_axis = linear_axis([y for points in series.values() for _, y in points], SIZE[1] - BOTTOM, TOP)
    canvas = Canvas()
    draw_frame(canvas, x_axis, y_axis, title, x_label, y_label)
    legend = SIZE[0] - RIGHT + 28
    for number, (name, points) in enumerate(series.items()):
        colour, shape = COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)]
        line = best_line(points, lower)
        canvas.line([(x_axis(math.log2(x)), y_axis(y)) for x, y in line], colour, 2.4)
        for x, y in sorted(points, key=lambda point: point in line):
            on_line = (x, y) in line
            canvas.marker((x_axis(math.log2(x)), y_axis(y)), shape, colour, 6 if on_line else 4, on_line)
        height = TOP + 12 + 28 * number
        canvas.line([(legend, height), (legend + 30, height)], colour, 2.4)
        canvas.marker((legend + 15, height), shape, colour, 6)
        canvas.text((legend + 42, height), name, "lm")
    if best is not None:
        canvas.ring((x_axis(math.log2(best[0])), y_axis(best[1])), 12)
        canvas.ring((legend + 15, TOP + 12 + 28 * len(series)), 10)
        canvas.text((legend + 42, TOP + 12 + 28 * len(series)), "chosen", "lm")
    return canvas.picture()
