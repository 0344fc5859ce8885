"""Settings whose default stands for something else, such as 0 for a choice by the images: ``--help`` shows
the meaning instead of the value."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import Field
from typing import Any


def worded(default: Any, words: str, of_model: bool = False) -> Any:
    """A setting whose default is explained by ``--help``.

    Args:
        words: Meaning of the default, such as ``chosen by the images``; empty for none.
        of_model: The setting changes one that a trained model has; help names the model's value.
    """
    return dataclasses.field(default=default, metadata={"words": words, "of_model": of_model})


def setting_fields(kind: type, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Dotted names and fields of all settings of a dataclass and of the dataclasses in it."""
    hints = typing.get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hint := hints[item.name]) and isinstance(hint, type):
            yield from setting_fields(hint, f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item
