"""Choices by name with their own settings: a sampler or a quantizer is a frozen dataclass, registered under
its name.

Fields are the settings, with their defaults and ranges; the docstring explains them. A new one only needs
registration: the command line, YAML files, model folders and tests read the registry. Nothing here imports
torch.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Generic, TypeVar

import docstring_parser

from .errors import ConfigError, check, closest_match


def setting(
    default: Any,
    low: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    learning: bool = False,
) -> Any:
    """A setting and the range that it may have.

    Args:
        low, high: Both included.
        below: Not included.
        learning: Whether it affects only how a network learns: training that begins with a trained network
            may have another value.
    """
    return field(default=default, metadata={"range": (low, high, below), "learning": learning})


def between(low: float, high: float, below: float) -> str:
    """A range in words."""
    if not math.isinf(below):
        return f"{low:g} or more, and less than {below:g}"
    if math.isinf(high):
        return "any number" if math.isinf(low) else f"{low:g} or more"
    return f"{low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Settings of one choice, checked at construction."""

    name: str = field(default="", init=False, repr=False)
    """Name by which users choose it; set by registration."""
    path: ClassVar[str] = ""
    """Prefix of the names of its settings in messages."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a setting of another type or out of its range."""
        types = self.types()
        for item in self.own():
            value, type_ = getattr(self, item.name), types[item.name]
            where = f"{self.path}{item.name}"
            if typing.get_origin(type_) is typing.Literal:
                options = typing.get_args(type_)
                check(value in options, where, value, f"use {', '.join(map(str, options))}")
            elif type_ is bool:
                check(value in (True, False), where, value, "use True or False")
            elif type_ in (int, float):
                low, high, below = item.metadata.get("range", (-math.inf, math.inf, math.inf))
                number = isinstance(value, Integral if type_ is int else Real) and math.isfinite(value)
                hint = (
                    f"{self.name} takes"
                    f" {'whole numbers, ' if type_ is int else ''}{between(low, high, below)}"
                )
                check(number and low <= value <= high and value < below, where, value, hint)

    @classmethod
    def own(cls) -> list[dataclasses.Field]:
        """The fields that are settings."""
        return [item for item in dataclasses.fields(cls) if item.init]

    @classmethod
    def types(cls) -> dict[str, Any]:
        """The type of every setting by its name."""
        hints = typing.get_type_hints(cls)
        return {item.name: hints[item.name] for item in cls.own()}

    @classmethod
    def describe(cls) -> dict[str, str]:
        """Description of every setting, from the class's docstring."""
        words: dict[str, str] = {}
        for kind in reversed(cls.__mro__):
            for item in docstring_parser.parse(kind.__doc__ or "").params:
                if item.arg_name in cls.types():
                    words[item.arg_name] = " ".join((item.description or "").split())
        return words

    def settings(self) -> dict[str, Any]:
        """The settings by name, as YAML and JSON hold them beside ``name``."""
        return {item.name: getattr(self, item.name) for item in self.own()}


C = TypeVar("C", bound=Choice)
K = TypeVar("K", bound="type[Choice]")


class Registry(dict[str, type[C]], Generic[C]):
    """Every choice of a kind by its name.

    Args:
        noun: Kind of choice, such as ``sampler``.
        field: Name of the setting, such as ``tokenizer.quantizer``.
    """

    def __init__(self, noun: str, field: str):
        super().__init__()
        self.noun, self.field = noun, field

    def register(self, name: str) -> Callable[[K], K]:
        """Make a class the choice of a name.

        Raises:
            ValueError: the name is taken, or a setting has another type than that of another choice with the
                same name.
        """

        def put(kind: K) -> K:
            if name in self:
                raise ValueError(
                    f"two {self.noun}s are called {name!r}: {self[name].__qualname__} and {kind.__qualname__}"
                )
            known = self.types()
            for setting_name, type_ in kind.types().items():
                if known.get(setting_name, type_) != type_:
                    raise ValueError(
                        f"{name}.{setting_name} has another type than that of"
                        f" {', '.join(self.owners(setting_name))}"
                    )
            kind.name = name
            self[name] = kind  # type: ignore[assignment]
            return kind

        return put

    def types(self) -> dict[str, Any]:
        """Every setting that some choice has, each once, and its type."""
        return {name: type_ for kind in self.values() for name, type_ in kind.types().items()}

    def owners(self, setting: str) -> list[str]:
        """Names of the choices that have a setting."""
        return [name for name, kind in self.items() if setting in kind.types()]

    def explain(self, setting: str) -> str:
        """Description of a setting, from every class that has it, with its default."""
        said: dict[str, list[str]] = {}
        for name in self.owners(setting):
            default = next(item.default for item in self[name].own() if item.name == setting)
            words = self[name].describe().get(setting, "").rstrip(".")
            said.setdefault(words, []).append(f"{name} (default {default})")
        return "; ".join(f"{', '.join(names)}: {words}" for words, names in said.items()) + "."

    def make(self, name: str, **settings: Any) -> C:
        """The choice of a name; a setting that is not given has its own default.

        Raises:
            ConfigError: no such choice, a setting that it does not have, or a value out of range.
        """
        known = isinstance(name, str) and name in self
        check(known, self.field, name, f"use one of {', '.join(self)}{closest_match(str(name), self)}")
        kind = self[name]
        for setting in settings.keys() - kind.types().keys():
            others = self.owners(setting)
            have = (
                f"{', '.join(others)} {'has' if len(others) == 1 else 'have'}"
                if others
                else f"no {self.noun} has"
            )
            hint = (
                f"the {self.noun} {name} has no such setting; {have} it{closest_match(setting, kind.types())}"
            )
            raise ConfigError(f"{kind.path}{setting}", settings[setting], hint)
        return kind(**settings)

    def change(self, default: C, name: str | None = None, **settings: Any) -> C:
        """The requested choice, or ``default``, whose settings hold if it is the requested one.

        Raises:
            ConfigError: see :meth:`make`.
        """
        if name is None or name == default.name:
            return self.make(default.name, **(default.settings() | settings))
        return self.make(name, **settings)
