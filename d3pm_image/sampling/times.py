"""Time grids of a decode, from noise down to clean t = 0."""

from __future__ import annotations


def uniform_times(steps: int, begin: float = 1.0) -> list[float]:
    """steps + 1 times, evenly spaced: [begin, …, 0]."""
    return [begin * (1 - i / steps) for i in range(steps)] + [0.0]
