"""The one error of wrong input, and the one way to raise it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

from .printable import printable


class ConfigError(ValueError):
    """Wrong input. The message names the field, the value and a hint, in one line.

    Values and hints may come from untrusted files, such as names of classes, so they are escaped.
    """

    def __init__(self, name: str, value: Any, hint: str):
        super().__init__(
            f"{printable(name)}={printable(repr(value), 500)}: {printable(' '.join(hint.split()), 4000)}"
        )
        self.name, self.value, self.hint = name, value, hint

    def __reduce__(self) -> tuple[type, tuple[str, Any, str]]:
        """Its parts, for pickling between processes."""
        return type(self), (self.name, self.value, self.hint)


def check(condition: bool, name: str, value: Any, hint: str) -> None:
    """Raise :class:`ConfigError` for field ``name`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(name, value, hint)


def finite(value: float) -> bool:
    """Neither NaN nor infinite."""
    return math.isfinite(value)


def closest_match(name: str, options: Iterable[str], prefix: str = "") -> str:
    """' (did you mean …?)' for the option most like a name, or nothing."""
    names = list(options)
    lower = {option.lower(): option for option in names}
    last = name.rsplit(".", 1)[-1]
    match = difflib.get_close_matches(name.lower(), lower, 1, 0.55) or difflib.get_close_matches(
        last.lower(), lower, 1, 0.5
    )
    return f" (did you mean {prefix}{lower[match[0]]}?)" if match else ""
