"""Choice of a sampler: by name, by settings, or as an object; from files of this version and of earlier
ones."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..config import SamplingConfig
from ..errors import ConfigError, check
from .samplers import SAMPLERS, Sampler

SHARED = tuple(item.name for item in dataclasses.fields(SamplingConfig))
"""Settings that all samplers share."""
OLD_NAMES = {"ctmc_form": "form", "remask_strategy": "strategy"}
"""Names of samplers' settings in version 0.1.0."""


Setting = tuple[Sampler, SamplingConfig]
"""A sampler with its own settings, and the settings that all samplers share."""


def make_sampler(name: str, **settings: Any) -> Sampler:
    """The sampler of a name; a setting that is not given has the sampler's own default.

    Raises:
        ConfigError: no such sampler, a setting that it does not have, or a value out of range.
    """
    for setting in settings.keys() & set(SHARED):
        raise ConfigError(setting, settings[setting], f"all samplers have it: give it as sampling.{setting}")
    return SAMPLERS.make(name, **settings)


def choose(default: Sampler, sampler: str | Sampler | None = None, **settings: Any) -> Sampler:
    """The sampler of a request; ``default`` if it names none.

    Args:
        default: The model's own. Its settings hold if it is the requested one.
        sampler: A name, a complete sampler, or None for the default.
        settings: Settings of a sampler's own; None leaves one as it is.

    Raises:
        ConfigError: see :func:`make_sampler`; settings besides a complete sampler.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if isinstance(sampler, Sampler):
        for name, value in given.items():
            raise ConfigError(
                name, value, f"give it to the sampler itself: {type(sampler).__name__}({name}={value!r})"
            )
        return sampler
    return SAMPLERS.change(default, sampler, **given)


def from_values(values: Any) -> Sampler:
    """The sampler of a file: ``{name: renoise, eta: 1.0}``, or a name alone.

    Raises:
        ConfigError: not such values.
    """
    values = {"name": values} if isinstance(values, str) else values
    hint = "give a name and settings, such as {name: renoise, eta: 1}"
    check(isinstance(values, dict) and "name" in values, "sampler", values, hint)
    return make_sampler(values["name"], **{name: value for name, value in values.items() if name != "name"})


def to_values(sampler: Sampler) -> dict[str, Any]:
    """What :func:`from_values` reads."""
    return {"name": sampler.name, **sampler.settings()}


def samplers_of(raw: dict[str, Any]) -> Setting:
    """The default sampler of a model's config.json, of this version or of 0.1.0, and the settings that all
    samplers share.

    Raises:
        ConfigError: no such sampler, or impossible values. KeyError, TypeError: not such a file.
    """
    if isinstance(raw["sampler"], dict) and "name" not in raw["sampler"]:
        return migrated(raw["sampler"])
    return from_values(raw["sampler"]), SamplingConfig(**raw["sampling"])


def flat(sampler: Sampler, sampling: SamplingConfig) -> dict[str, Any]:
    """All settings of a decode by name, the sampler's own beside those that all share, as images and result
    files record them."""
    return {"sampler": sampler.name, **sampler.settings(), **dataclasses.asdict(sampling)}


def is_setting(name: str) -> bool:
    """Whether a recorded value is one of :func:`flat`'s, of any sampler and of version 0.1.0 too."""
    return name == "sampler" or name in SHARED or name in OLD_NAMES or bool(SAMPLERS.owners(name))


def separated(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The flat ``sampler`` group of a run configuration of version 0.1.0 as a sampler's values and shared
    ones; None for any other group."""
    if "name" in values or not set(values) & {"sampler", *SHARED, *OLD_NAMES}:
        return None
    own = {OLD_NAMES.get(name, name): value for name, value in values.items()}
    shared = {name: own.pop(name) for name in SHARED if name in own}
    kind = SAMPLERS.get(str(own.get("sampler")))
    named = {"name": own.pop("sampler")} if "sampler" in own else {}
    return {
        **named,
        **{name: value for name, value in own.items() if kind is None or name in kind.types()},
    }, shared


def migrated(values: dict[str, Any]) -> tuple[Sampler, SamplingConfig]:
    """Sampler and shared settings from the flat settings of version 0.1.0, in model folders, run
    configurations, results of ``tune`` and images.

    Version 0.1.0 stored a value for every setting of every sampler: those of the chosen one are used
    unchanged, and the others dropped.

    Raises:
        ConfigError: no such sampler, or impossible values.
    """
    own = {OLD_NAMES.get(name, name): value for name, value in values.items()}
    name = own.pop("sampler", "confidence")
    check(isinstance(name, str) and name in SAMPLERS, "sampler", name, f"use one of {', '.join(SAMPLERS)}")
    known = SAMPLERS[name].types()
    sampler = make_sampler(name, **{setting: value for setting, value in own.items() if setting in known})
    return sampler, SamplingConfig(**{setting: value for setting, value in own.items() if setting in SHARED})
