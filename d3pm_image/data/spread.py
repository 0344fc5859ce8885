"""Numbers spread evenly over a range: how a few images stand for a set, which is often sorted by class."""

from __future__ import annotations

import numpy as np


def spread_over(count: int, most: int) -> np.ndarray:
    """At most ``most`` of the numbers 0..count-1, int64, evenly spread, the first and (for two or more) the
    last among them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
