"""Type hints of settings: whether a value fits one, and a description of it in words."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any

UNIONS = (typing.Union, types.UnionType)


def fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type; the configuration itself checks the values of a Literal."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return any(fits(value, one) for one in inner)
    if origin is typing.Literal:
        return any(fits(value, type(one)) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(fits(item, inner[0]) for item in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return value is None if hint in (None, type(None)) else hint is Any or isinstance(value, origin or hint)


def words(hint: Any) -> str:
    """A type in words, for users of Python."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}" if len(inner) > 1 else str(inner[0])
    if origin in UNIONS:
        return " or ".join(dict.fromkeys(words(one) for one in inner))
    if origin is tuple:
        return f"a list such as [8,8], each item {words(inner[0])}"
    return {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a text",
        type(None): "None",
    }.get(hint, str(hint))


def without_none(hint: Any) -> Any:
    """The same type without None, which stands for a missing value."""
    kept = tuple(one for one in typing.get_args(hint) if one is not type(None))
    return typing.Union[kept] if typing.get_origin(hint) in UNIONS else hint  # noqa: UP007


def setting_types(kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and types of all settings of a dataclass and of the dataclasses in it."""
    for name, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            yield from setting_types(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint
