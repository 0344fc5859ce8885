"""Errors of a parser for wrong options, as one line with the field, the value and a hint."""

from __future__ import annotations

import contextlib
import math
from argparse import ArgumentError
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ..config import ConfigError, TokenizerRun, check, closest_match, migrated
from ..config.hints import setting_types, without_none, words
from ..documents import Missing, Unreadable, read_yaml
from ..printable import dashed
from ..tokenizer.quantizers import QUANTIZERS

STAGES = {"train-tokenizer": dict, "train-diffusion": str}
"""Type of ``tokenizer`` in a command's file of settings: the network's options, or a folder."""


def explain(
    kind: type, arguments: list[str], positionals: Sequence[str], optional: Collection[str], told: str
) -> ConfigError:
    """The error in arguments that a parser refused: the first unknown option, missing value, or value of
    another type; files of settings are checked before the command line.

    Args:
        kind: The command's dataclass.
        positionals: Names of what is given without an option, those that may be left out last.
        optional: Names of those that may be left out.
        told: The parser's own message, for any other error.
    """
    hints = {name: hint for name, hint in options(kind).items() if name not in positionals}
    for file in files(arguments):
        if error := wrong_key(settings(file), hints):
            return error
    if error := wrong_argument(arguments, hints, positionals, optional):
        return error
    return ConfigError("arguments", told, "see --help")


def options(kind: type) -> dict[str, Any]:
    """Types of a command's options by their dotted names."""
    found = dict(setting_types(kind))
    if kind is TokenizerRun:
        found |= {f"tokenizer.quantizer.{name}": hint for name, hint in QUANTIZERS.types().items()}
        found["tokenizer.quantizer.name"] = Literal[tuple(QUANTIZERS)]
    return found


def wrong_key(held: dict[str, Any], hints: dict[str, Any], above: str = "") -> ConfigError | None:
    """The first wrong key or value of a file of settings, or None."""
    for name, value in held.items():
        path = f"{above}{name}"
        if path in hints:
            hint = hints[path]
            error = None if accepts(hint, value) else ConfigError(path, value, wanted(hint, value))
        elif path not in with_groups(hints):
            error = ConfigError(
                path, "unknown", f"no such key{closest_match(path, with_groups(hints))}; see --help"
            )
        elif (inner := group_settings(value)) is not None:
            error = wrong_key(inner, hints, f"{path}.")
        else:
            error = ConfigError(path, value, group_hint(path, hints, value))
        if error:
            return error
    return None


def wrong_argument(
    arguments: list[str], hints: dict[str, Any], positionals: Sequence[str], optional: Collection[str]
) -> ConfigError | None:
    """The first wrong option or value of a command line, or None."""
    names, rest, plain, last = with_groups(hints), iter(arguments), 0, ""
    for argument in rest:
        if not argument.startswith("-"):
            plain += 1
            if plain > len(positionals):
                known = f" after {', '.join(positionals)}" if positionals else ""
                too_many = f"one word too many{known}; options are given by name, see --help"
                if last and is_number(argument):
                    too_many = f"one word too many{known}; several numbers of --{last} are joined by commas"
                return ConfigError("argument", argument, too_many)
            continue
        option, equals, value = argument.partition("=")
        name = option.removeprefix("--")
        if name in ("help", "print_config"):
            continue
        if in_a_dictionary(name, hints):
            value = value if equals else next(rest, "")
            continue
        meant = [one for one in names if one == name] or [one for one in names if one.startswith(name)]
        if not meant and name and "config".startswith(name):
            name = "config"
        if name != "config" and len(meant) != 1:
            likely = closest_match(dashed(name), map(dashed, meant or names), "--")
            return ConfigError(name, "unknown", f"no such option{likely}; see --help")
        value, last = value if equals else next(rest, "--"), dashed(name)
        if not equals and value.startswith("-") and not is_number(value):
            how = (
                "" if value.startswith("--") else f", or --{dashed(name)}={value} for one that begins with -"
            )
            return ConfigError(name, "", f"needs a value{how}; see --help")
        if name == "config":
            continue
        error, hint = None, hints.get(meant[0])
        if hint is None and (inner := group_settings(value)) is not None:
            error = wrong_key(inner, hints, f"{meant[0]}.")
        elif hint is None:
            error = ConfigError(meant[0], value, group_hint(meant[0], hints, value))
        elif not accepts(hint, value):
            error = ConfigError(meant[0], value, wanted(hint, value))
        if error:
            return error
    missing = [name for name in positionals[plain:] if name not in optional]
    return ConfigError(missing[0], "", "is missing; see --help") if missing else None


def group_settings(value: Any) -> dict[str, Any] | None:
    """Settings of a group: from a file, as text of the command line, or from a file that is named there. None
    for anything else."""
    import yaml

    if isinstance(value, str):
        named = value
        with contextlib.suppress(yaml.YAMLError):
            value = yaml.safe_load(named)
        with contextlib.suppress(OSError, ValueError):  # a text that is not a name
            value = settings(named) if Path(named).expanduser().is_file() else value
    return value if isinstance(value, dict) else None


def in_a_dictionary(name: str, hints: dict[str, Any]) -> bool:
    """Whether an option is a key of a setting that is a dictionary, such as the sampler."""
    parts = name.split(".")
    above = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return any(get_origin(hints.get(one)) is dict for one in above)


def is_number(text: str) -> bool:
    """Whether a word is a number, which may begin with a dash."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def group_hint(group: str, hints: Collection[str], given: Any = None) -> str:
    """Hint for a group of options that was given a value."""
    hint = f"must have options of its own, such as {next(o for o in hints if o.startswith(f'{group}.'))}"
    folder = group == "data" and isinstance(given, str) and given
    return f"{hint}; for a folder of images give --data.root {given}" if folder else hint


def with_groups(hints: Collection[str]) -> list[str]:
    """Names of options and of their groups."""
    groups = {name[:at] for name in hints for at, sign in enumerate(name) if sign == "."}
    return [*hints, *sorted(groups)]


def accepts(hint: Any, value: Any) -> bool:
    """Whether the parser accepts a value for an option of this type, from a file or the command line."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if isinstance(value, str):
            parser.parse_args([f"--value={value}"])
        else:
            parser.parse_object({"value": value})
    except (ArgumentError, TypeError, ValueError):
        return False
    return True


def wanted(hint: Any, given: Any) -> str:
    """Hint for an option of this type."""
    hint = without_none(hint)
    if get_origin(hint) is Literal:
        names = [str(name) for name in get_args(hint)]
        return f"use one of {', '.join(names)}{closest_match(str(given), names)}"
    parts = str(given).split(",")
    if get_origin(hint) is tuple and all(accepts(get_args(hint)[0], part) for part in parts):
        return f"write it as a list: [{given}]"
    return f"give {words(hint).replace('True or False', 'true or false')}"


def check_file(command: str, arguments: list[str]) -> None:
    """Raises ConfigError if FILE of ``--config FILE`` does not exist, cannot be read as settings, or is for
    the other stage."""
    for name in files(arguments):
        try:
            held = read_yaml(Path(name).expanduser())
        except Missing as error:
            raise ConfigError(
                "config", name, "no such file; name a YAML file of settings, such as those in configs/"
            ) from error
        except Unreadable as error:
            raise ConfigError(
                "config", name, f"{error}: name a YAML file of settings, such as those in configs/"
            ) from error
        hint = "holds no settings; name a YAML file of settings, such as those in configs/"
        check(isinstance(held, dict), "config", name, hint)
        odd = next((path for path in paths(held) if not isinstance(path[-1], str)), None)
        hint = f"holds the key {'.'.join(map(str, odd or ()))}, which is not text; remove it"
        check(odd is None, "config", name, hint)
        if command in STAGES:
            (other,) = set(STAGES) - {command}
            hint = f"is a configuration of {other}: d3pm-image {other} --config {name}"
            check(not isinstance(held.get("tokenizer"), STAGES[other]), "config", name, hint)


def files(arguments: list[str]) -> list[str]:
    """Files of settings that arguments name, in order."""
    pairs = [
        *zip(arguments, arguments[1:], strict=False),
        *((a.partition("=")[0], a.partition("=")[2]) for a in arguments),
    ]
    return [value for option, value in pairs if option == "--config" and value]


def settings(file: str) -> dict[str, Any]:
    """Content of a file of settings; nothing if it cannot be read, for which the parser gives the
    position."""
    try:
        found = read_yaml(Path(file).expanduser())
    except Unreadable:
        return {}
    found = found if isinstance(found, dict) else {}
    return found | (
        {"tokenizer": migrated(found["tokenizer"])} if isinstance(found.get("tokenizer"), dict) else {}
    )


def paths(held: dict[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of settings, with its parent keys."""
    for key, value in held.items():
        yield (*above, key)
        yield from paths(value, (*above, key)) if isinstance(value, dict) else ()


def with_source(error: ConfigError, arguments: list[str], start: str, inherited: set[str]) -> ConfigError:
    """Adds to an error where its value comes from, if not from the command line.

    Args:
        start: Trained model whose settings are defaults, or nothing.
        inherited: Names of those settings.
    """
    parts = error.name.split(".")
    groups = {f"--{'.'.join(parts[:depth])}" for depth in range(1, len(parts) + 1)}
    if any(argument.partition("=")[0] in groups for argument in arguments):
        return error
    for file in reversed(files(arguments)):
        if tuple(parts) in paths(settings(file)):
            also = (
                f"set in {file}; override with --{dashed(error.name)}"
                if error.value != "unknown"
                else f"it stands in {file}"
            )
            return ConfigError(error.name, error.value, f"{error.hint} ({also})")
    if error.name in inherited:
        return ConfigError(
            error.name,
            error.value,
            f"{error.hint} (set by start_from {start}; override with --{dashed(error.name)})",
        )
    return error
