"""Markdown out of rows, and the line below a table that says where it was measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
NONE = "No figures yet: the command above makes them.\n"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, all others are numbers."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, rule, *rows))


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def read(name: str) -> dict[str, Any]:
    """A file of docs/results."""
    return load(RESULTS / f"{name}.json")


def rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def torch_version(machine: dict[str, Any]) -> str:
    return f"torch {machine['torch'].partition('+')[0]}"


def threads(machine: dict[str, Any]) -> str:
    return f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"


def whereabouts(machine: dict[str, Any]) -> str:
    """Processor, threads, GPU and version of torch."""
    gpu = "no GPU" if machine["gpu"] == "none" else machine["gpu"]
    return f"{machine['processor']}, {threads(machine)}, {gpu}, {torch_version(machine)}"


def under(machine: dict[str, Any], how: str = "medians of runs that take turns") -> str:
    """The line below a table that says where it was measured, and how."""
    return f"\n{whereabouts(machine)}; {how}.\n"
