"""Markdown out of rows, and the line below a table that says where it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, all others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, rule, *rows))


def read(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def under(machine: dict) -> str:
    """The line below a table that says where it was measured."""
    gpu = "no GPU" if machine["gpu"] == "none" else machine["gpu"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"\n{machine['processor']}, {threads}, {gpu}, torch {machine['torch'].partition('+')[0]}; medians of runs that take turns.\n"
