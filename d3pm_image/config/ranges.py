"""Ranges that the options of a command and the function behind it share.

A command checks them before it loads a model; the function checks them for calls from Python.
"""

from __future__ import annotations

from ..errors import check, finite


def check_seed(seed: int) -> None:
    """Raises ConfigError for a negative seed."""
    check(seed >= 0, "seed", seed, "give a whole number of 0 or more")


def check_batch_size(batch_size: int) -> None:
    """Raises ConfigError for a batch without images."""
    check(batch_size >= 1, "batch_size", batch_size, "use at least 1")


def check_first(first: int) -> None:
    """Raises ConfigError for a number of the first image outside 0..10^9."""
    check(0 <= first <= 1_000_000_000, "first", first, "give 0 to 1000000000")


def check_strength(strength: float) -> None:
    """Raises ConfigError for a noise level outside [0, 1]."""
    hint = "give a noise level in [0, 1]"
    check(finite(strength) and 0 <= strength <= 1, "strength", strength, hint)


def check_seam(ring: int | None, feather: int) -> None:
    """Raises ConfigError for a negative ring (codes; None is the default) or feather (pixels)."""
    hint = "give 0 or more code cells, or null for the default"
    check(ring is None or ring >= 0, "ring", ring, hint)
    check(feather >= 0, "feather", feather, "give 0 or more pixels")
