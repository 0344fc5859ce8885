"""What a parser says of wrong options, as one line that names the field, the value and a hint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import ConfigError, migrated, near, need
from ..documents import Missing, Unreadable, read_yaml

KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "tuple": "a list such as [8,8]"}
STAGES = {"train-tokenizer": dict, "train-diffusion": str}
"""What ``tokenizer`` is in a command's file of settings: the network's own options, or where it lies."""


def explain(error: Exception, options: list[str]) -> ConfigError:
    """A message of the parser.

    Args:
        options: Names of all options, without dashes.
    """
    text = " ".join(str(error).split())
    if "unrecognized arguments:" in text:
        name = text.split("unrecognized arguments:")[1].split()[0]
        return ConfigError(name, "unknown", f"no such option{near(name.removeprefix('--').partition('=')[0], options, '--')}; see --help")
    if ambiguous := re.search(r"ambiguous option: -*(\S+) could match (\S+),", text):
        return ConfigError(ambiguous[1], "unknown", f"no such option (did you mean {ambiguous[2]}?); see --help")
    if "does not accept option" in text:
        group, option = (part.strip("'\"") for part in text.removeprefix("Group ").split(" does not accept option "))
        return ConfigError(f"{group}.{option}", "unknown", f"no such key{near(f'{group}.{option}', options)}; see --help")
    if "is not accepted" in text and text.startswith("Option"):
        option = text.removeprefix("Option ").split(" is not accepted")[0].strip("'\"")
        return ConfigError(option, "unknown", f"no such key{near(option, options)}; see --help")
    if missing := re.fullmatch(r"argument -*(\S+): expected one argument", text):
        return ConfigError(missing[1], "", "needs a value; see --help")
    if "Problems parsing config: " in text:
        return ConfigError("config", "", f"is no YAML: {text.partition('Problems parsing config: ')[2]}")
    if text.startswith("Parser key"):
        key, _, rest = text.removeprefix("Parser key ").partition(":")
        given = rest.rsplit("Given value: ", 1)[-1] if "Given value: " in rest else rest.rsplit("Got value: ", 1)[-1]
        return ConfigError(key.strip("'\""), given.strip(), wanted(rest, given.strip()))
    return ConfigError("arguments", text, "see --help")


def wanted(message: str, given: str) -> str:
    """What an option takes, out of a message about its type."""
    if choices := re.search(r"Literal\[(.*?)\]", message):
        names = [name.strip().strip("'\"") for name in choices[1].split(",")]
        return f"use one of {', '.join(names)}{near(given, names)}"
    if found := re.search(r"Subtypes: \[(.*?)\] Errors", message):
        kinds = [kind for kind in found[1].replace("<class '", "").replace("'>", "").split(", ") if kind != "NoneType"]
        names = [KINDS.get(re.split(r"[\[.]", kind.removeprefix("typing."))[0].lower(), "") for kind in kinds]
        return f"give {' or '.join(dict.fromkeys(filter(None, names)))}"
    if found := re.search(r"[Ee]xpected an? <?(?:class ')?(\w+)", message):
        kind = found[1].lower()
        if kind == "tuple" and re.fullmatch(r"[\d.]+(,[\d.]+)*", given):
            return f"write it as a list: [{given}]"
        return f"give {KINDS.get(kind, kind)}"
    hint = message.split("Got value")[0].split("Given value")[0].strip(" .")
    return hint[0].lower() + hint[1:] if hint else "wrong type"


def check_file(command: str, arguments: list[str]) -> None:
    """Raises ConfigError for ``--config FILE`` that is not there, cannot be read as settings, or is the other stage's."""
    for name in files(arguments):
        try:
            held = read_yaml(Path(name).expanduser())
        except Missing as error:
            raise ConfigError("config", name, "no such file; name a YAML file of settings, such as those in configs/") from error
        except Unreadable as error:
            raise ConfigError("config", name, f"{error}: name a YAML file of settings, such as those in configs/") from error
        need(isinstance(held, dict), "config", name, "holds no settings; name a YAML file of settings, such as those in configs/")
        odd = next((path for path in paths(held) if not isinstance(path[-1], str)), None)
        need(odd is None, "config", name, f"holds the key {'.'.join(map(str, odd or ()))}, which is no text; remove it")
        if command in STAGES:
            (other,) = set(STAGES) - {command}
            hint = f"is a file of {other}: d3pm-image {other} --config {name}"
            need(not isinstance(held.get("tokenizer"), STAGES[other]), "config", name, hint)


def files(arguments: list[str]) -> list[str]:
    """Files of settings that arguments name, in order."""
    pairs = [*zip(arguments, arguments[1:], strict=False), *((a.partition("=")[0], a.partition("=")[2]) for a in arguments)]
    return [value for option, value in pairs if option == "--config" and value]


def settings(file: str) -> dict[str, Any]:
    """What a file of settings holds; nothing where it cannot be read, of which the parser says where."""
    try:
        found = read_yaml(Path(file).expanduser())
    except Unreadable:
        return {}
    found = found if isinstance(found, dict) else {}
    return found | ({"tokenizer": migrated(found["tokenizer"])} if isinstance(found.get("tokenizer"), dict) else {})


def paths(held: dict[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of settings with those that it stands under."""
    for key, value in held.items():
        yield (*above, key)
        yield from paths(value, (*above, key)) if isinstance(value, dict) else ()


def whence(error: ConfigError, arguments: list[str], start: str, inherited: set[str]) -> ConfigError:
    """An error over a value that the command line does not give says what gave it.

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
            also = f"the value stands in {file}; --{error.name} overrules it" if error.value != "unknown" else f"it stands in {file}"
            return ConfigError(error.name, error.value, f"{error.hint} ({also})")
    if error.name in inherited:
        return ConfigError(error.name, error.value, f"{error.hint} (the value is that of start_from {start}; --{error.name} overrules it)")
    return error
