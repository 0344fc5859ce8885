"""Time grids of a decode, from noise t = 1 down to clean t = 0."""

from __future__ import annotations


def uniform_times(steps: int) -> list[float]:
    """steps + 1 times, evenly spaced: [1, …, 0]."""
    return [1 - i / steps for i in range(steps)] + [0.0]
