"""The one error of wrong input, and the one way to raise it."""

from __future__ import annotations

import math
from typing import Any


class ConfigError(ValueError):
    """A value that cannot work. The message names the field, the value and the mend, in one line."""

    def __init__(self, name: str, value: Any, mend: str):
        super().__init__(f"{name}={value!r}: {mend}")


def need(condition: bool, name: str, value: Any, mend: str) -> None:
    """Raise :class:`ConfigError` for field ``name`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(name, value, mend)


def finite(value: float) -> bool:
    """Neither NaN nor infinite."""
    return math.isfinite(value)
