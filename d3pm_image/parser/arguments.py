"""Arguments of a command, from its dataclass: YAML and dotted overrides by jsonargparse."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

from ..config import ConfigError, DiffusionRun, TokenizerConfig, TokenizerRun, check, migrated
from ..config.tokenizer import FLAT
from ..documents import LARGEST_YAML, check_yaml, read_text
from ..model_list import drawing_settings
from ..tokenizer.quantizers import QUANTIZERS, Quantizer
from .errors import check_file, explain, with_source
from .help import SHORT, help_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from jsonargparse import ArgumentParser

DESCRIBE = "\0describe"
"""As the only argument of a command: raise :class:`Described`, and run nothing. No shell can pass it."""


class Described(Exception):
    """The options of a command: its dataclass, and what is given without an option."""

    def __init__(self, kind: type, positionals: list[str]):
        super().__init__(kind.__name__)
        self.kind, self.positionals = kind, positionals


T = TypeVar("T", bound="DataclassInstance")


def normalise(arguments: list[str], kind: type | None = None) -> list[str]:
    """``--num-images`` and ``--num_images`` are the same option, and ``-n`` is short for it if ``kind`` has
    it."""
    known = {item.name for item in fields(kind)} if kind is not None else set()
    long = {short: f"--{name}" for name, short in SHORT.items() if name in known}
    out = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        name = long.get(name, name)
        out.append(
            name[:2] + name[2:].replace("-", "_") + equals + value if name.startswith("--") else argument
        )
    return out


def nested_quantizer(arguments: list[str]) -> list[str]:
    """The same arguments with the quantizer's settings below it: version 0.1.0 had them beside it, as
    ``--tokenizer.num_codes`` and ``--tokenizer.quantizer NAME``."""
    names = {f"--tokenizer.{name}": f"--tokenizer.quantizer.{name}" for name in FLAT}
    names["--tokenizer.quantizer"] = "--tokenizer.quantizer.name"
    split = [argument.partition("=") for argument in arguments]
    return [names.get(name, name) + equals + value for name, equals, value in split]


def positionals_first(arguments: list[str]) -> list[str]:
    """The same arguments with options last, each as ``--name=value``.

    Otherwise an optional positional is found only directly after the others, and a value such as -5,0,20,20
    is read as an option.
    """
    positionals, options, rest = [], [], iter(arguments)
    for argument in rest:
        if not argument.startswith("-"):
            positionals.append(argument)
        elif argument in ("-h", "--help", "--print_config") or "=" in argument:
            options.append(argument)
        else:
            value = next(rest, None)
            options.append(argument if value is None else f"{argument}={value}")
    return positionals + options


def bare_flags(kind: type, arguments: list[str]) -> list[str]:
    """The same arguments with a lone ``--overwrite``, or any other option that is true or false, as
    ``--overwrite=true``."""
    flags = {f"--{item.name}" for item in fields(kind) if item.type in ("bool", bool)}
    following = [*arguments[1:], ""]
    return [
        f"{word}=true" if word in flags and after.lower() not in ("true", "false", "yes", "no") else word
        for word, after in zip(arguments, following, strict=False)
    ]


def know_types(kind: type) -> None:
    """Write the types of a dataclass's fields into its constructor, each resolved in the module that declares
    it. Otherwise the parser looks up inherited types in the module of ``kind``, and accepts any value for all
    fields if it does not find one."""
    types = get_type_hints(kind)
    vars(kind)["__init__"].__annotations__ |= {item.name: types[item.name] for item in fields(kind)}


def make_parser(
    command: str, kind: type, positionals: dict[str, str], description: str, optional: Sequence[str] = ()
) -> ArgumentParser:
    """A parser of ``kind``'s fields (nested dataclasses as dotted options), ``--config`` and the given
    positionals, of which those named ``optional`` may be left out and are then empty."""
    from jsonargparse import SUPPRESS, ArgumentParser

    class Parser(ArgumentParser):
        """Reads files of settings as :mod:`~d3pm_image.documents` does: only regular files of limited
        size."""

        def parse_path(self, path: Any, *args: Any, **options: Any) -> Any:
            text = read_text(Path(path).expanduser(), LARGEST_YAML)
            check_yaml(text)
            return self.parse_string(of_today(kind, text), path=Path(path).name, **options)

    parser = Parser(prog=f"d3pm-image {command}", description=description, exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file with any of the options below.")
    may_miss: dict[str, Any] = {"nargs": "?", "default": ""}
    for name, text in positionals.items():
        parser.add_argument(name, type=str, help=text, **(may_miss if name in optional else {}))
    first = kind is TokenizerRun
    know_types(kind)
    parser.add_class_arguments(kind, as_group=True, skip={*positionals, *(["tokenizer"] if first else [])})
    for options in parser._action_groups:  # its first line is shown above already
        if options.title and description.startswith(options.title):
            options.title = f"options of {command}"
    if first:
        parser.add_class_arguments(TokenizerConfig, "tokenizer", skip={"quantizer"})
        group = parser.add_argument_group(
            "How features become codes; every quantizer has settings of its own"
        )
        words = f"{', '.join(QUANTIZERS)}; docs/tokenizer_quantizers.md says which to use when"
        group.add_argument(
            "--tokenizer.quantizer.name", type=Literal[tuple(QUANTIZERS)], default=SUPPRESS, help=words
        )
        for name, type_ in QUANTIZERS.types().items():
            group.add_argument(
                f"--tokenizer.quantizer.{name}", type=type_, default=SUPPRESS, help=QUANTIZERS.explain(name)
            )
    return parser


def parse(
    command: str,
    kind: type[T],
    arguments: list[str],
    positionals: dict[str, str] | None = None,
    optional: Sequence[str] = (),
) -> T:
    """The command's arguments as its dataclass.

    Raises:
        ConfigError: unknown option or key, wrong type, or an impossible value. Described: it was asked for.
    """
    if arguments == [DESCRIBE]:
        raise Described(kind, list(positionals or {}))
    text, _, example = (kind.__doc__ or "").partition("Example:")
    description = " ".join(text.split("Args:")[0].split())
    parser = make_parser(command, kind, positionals or {}, description, optional)
    if {"-h", "--help"}.intersection(arguments):
        own = settings_of_model(positionals or {}, arguments)
        print(help_text(parser, kind, command, list(positionals or {}), optional, example.strip(), own))
        raise SystemExit(0)
    start, inherited, quantizer = "", {}, TokenizerConfig().quantizer
    try:
        arguments = bare_flags(kind, normalise(arguments, kind))
        nested = nested_quantizer(arguments) if kind is TokenizerRun else arguments
        flat, arguments = nested != arguments, nested
        check_file(command, arguments)
        arguments = positionals_first(arguments) if optional else arguments
        values = parser.parse_args(arguments)
        # a trained model, whose settings are the defaults then
        if kind in (DiffusionRun, TokenizerRun) and (start := values.start_from):
            from ..recipes.finetune import defaults

            inherited = defaults(kind, start)
            quantizer = inherited.pop("tokenizer.quantizer", quantizer)
            parser.set_defaults(inherited)
            values = parser.parse_args(arguments)
        check_groups(kind, values)
        if kind is TokenizerRun:
            own = values.get("tokenizer.quantizer", argparse.Namespace())
            values["tokenizer.quantizer"] = changed_quantizer(quantizer, own, flat)
        return kind(**{k: v for k, v in vars(parser.instantiate(values)).items() if k != "config"})
    except ConfigError as error:
        raise with_source(error, arguments, start, set(inherited)) from error
    except (argparse.ArgumentError, TypeError, ValueError) as error:
        found = explain(kind, arguments, list(positionals or {}), optional, str(error))
        raise with_source(found, arguments, start, set(inherited)) from error


def settings_of_model(positionals: Collection[str], arguments: list[str]) -> dict[str, Any] | None:
    """Sampler settings of the trained model that a command line names first; None if it does not name a known
    one."""
    words = positionals_first([word for word in arguments if word not in ("-h", "--help")])
    if "model" not in positionals or not words or words[0].startswith("-"):
        return None
    return drawing_settings(words[0])


def check_groups(kind: type, values: Any) -> None:
    """Raises ConfigError if a group of settings was given a value."""
    for item in fields(kind):
        if item.default_factory is not MISSING and item.name != "sampler":  # a group of its own
            given = getattr(values, item.name)
            hint = f"must have options of its own, such as {item.name}.{first_option(item)}"
            check(hasattr(given, "__dict__"), item.name, given, hint)


def changed_quantizer(quantizer: Quantizer, given: Any, flat: bool) -> Quantizer:
    """A quantizer with the settings that were given; ``flat``: under their names of version 0.1.0.

    Raises:
        ConfigError: something else was given, or a setting that the quantizer does not have.
    """
    hint = "give a name and settings, such as {name: fsq, levels: [8,5,5,5]}"
    check(hasattr(given, "__dict__"), "tokenizer.quantizer", given, hint)
    own = vars(given)
    if flat:
        own = migrated({"quantizer": own.pop("name", quantizer.name), **own})["quantizer"]
    return QUANTIZERS.change(quantizer, **own)


def of_today(kind: type, text: str) -> str:
    """A run's settings with quantizer and sampler as this version names them: version 0.1.0 stored the
    settings of all in one flat group."""
    import yaml

    from ..sampling.choice import separated

    held = yaml.safe_load(text) if kind in (DiffusionRun, TokenizerRun) else None
    if not isinstance(held, dict):
        return text
    found, tokenizer, sampler = dict(held), held.get("tokenizer"), held.get("sampler")
    if isinstance(tokenizer, dict):
        found["tokenizer"] = migrated(tokenizer)
    if isinstance(sampler, dict) and (parts := separated(sampler)):
        given = held.get("sampling")
        found |= {"sampler": parts[0], "sampling": {**(given if isinstance(given, dict) else {}), **parts[1]}}
        found = {name: value for name, value in found.items() if value != {}}
    changed = {name: value for name, value in found.items() if value != held.get(name)}
    if not changed:
        return text
    # all else keeps its quotes: YAML readers disagree on whether 1e3 is a number
    root = yaml.compose(text, yaml.SafeLoader)
    kept = [(name, value) for name, value in root.value if name.value in found.keys() - changed.keys()]
    root.value = kept + yaml.representer.SafeRepresenter().represent_data(changed).value
    return yaml.serialize(root, Dumper=yaml.SafeDumper)


def first_option(item: Field) -> str:
    """Name of the first option of a nested dataclass."""
    assert item.default_factory is not MISSING
    return fields(item.default_factory())[0].name
