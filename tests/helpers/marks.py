"""Variants of a test that run with ``-m slow`` alone, since a quicker one covers nearly as much."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*values: Any) -> Any:
    """The same parameters, marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)
