"""The page that ``--help`` prints: an example, the most frequent options first, types in words, the sampler's
settings last.

argparse lists options in the order in which they were added, with Python's names of types, and ``null`` for a
default that is the model's own. This page is made from the same parser.
"""

from __future__ import annotations

import shutil
import textwrap
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import Field, is_dataclass
from typing import Any, Literal, get_args, get_origin

from ..config.hints import without_none
from ..config.worded import setting_fields

SHORT = {"num_images": "-n", "variants": "-n", "out": "-o"}
"""Options that have a short form."""
COLUMN, WIDEST = 26, 110
ASIDE = {
    "help": "Show this page.",
    "config": "YAML file with any of these options; options on the command line take precedence.",
    "print_config": "Print all settings as YAML in place of running.",
}
"""Options at the end of the page, and their texts."""


def help_text(
    parser: ArgumentParser,
    kind: type,
    command: str,
    positionals: Sequence[str],
    optional: Sequence[str],
    example: str,
    own: Mapping[str, Any] | None = None,
) -> str:
    """The help page of a command.

    Args:
        parser: Its parser, which has all options with their texts.
        kind: Its dataclass: options of the class itself come first, those that it inherits after them, the
            sampler's last.
        positionals: Names of positional arguments, of which ``optional`` ones may be left out.
        example: A command to copy; empty for none.
        own: Settings of the trained model that the command line names; None if it does not name one.
    """
    width = min(WIDEST, shutil.get_terminal_size((80, 24)).columns)
    given = [f"[{name.upper()}]" if name in optional else name.upper() for name in positionals]
    parts = [f"usage: {' '.join(['d3pm-image', command, *given, '[options]'])}"]
    parts += [textwrap.fill((parser.description or "").replace("``", ""), width)]
    parts += [f"example:\n  {example}"] if example else []
    actions = {a.dest: a for a in parser._actions if a.help is not SUPPRESS}
    known = dict(setting_fields(kind))
    words = {name: default_of(action, known.get(name), own) for name, action in actions.items()}
    named = [entry(actions[name], name.upper(), width, words[name]) for name in positionals]
    parts += ["\n".join(["arguments:", *named])] if named else []
    for title, group in groups(parser, kind, [n for n in actions if n not in positionals]):
        lines = [entry(actions[name], invocation(actions[name]), width, words[name]) for name in group]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)


def groups(parser: ArgumentParser, kind: type, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Titles and options of the parts of a page, in its order."""
    origin = {
        name: owner for owner in reversed(kind.__mro__) for name in vars(owner).get("__annotations__", {})
    }
    heads = titles(parser)
    made = {name for name, item in setting_fields(kind) if item.metadata.get("of_model")}
    own: list[str] = []
    inherited: list[str] = []
    drawn: list[str] = []
    rest: list[str] = []
    nested: dict[str, list[str]] = {}
    for name in names:
        if name in ASIDE:
            rest.append(name)
        elif is_group(parser, name):
            continue
        elif "." in name:
            nested.setdefault(name.partition(".")[0], []).append(name)
        elif name in made:
            drawn.append(name)
        elif origin.get(name) is kind:
            own.append(name)
        else:
            inherited.append(name)
    order = [owner for owner in kind.__mro__ if owner is not object]
    inherited.sort(key=lambda name: order.index(origin[name]) if origin.get(name) in order else 0)
    found = [("options", own + inherited)]
    found += [(f"{name} ({heads[name]})" if name in heads else name, part) for name, part in nested.items()]
    found += [("settings of the sampler (default: the model's own)", drawn)]
    return [(title, part) for title, part in [*found, ("more", rest)] if part]


def is_group(parser: ArgumentParser, name: str) -> bool:
    """Whether a name is that of a whole group of settings."""
    return any(action.dest.startswith(f"{name}.") for action in parser._actions)


def titles(parser: ArgumentParser) -> dict[str, str]:
    """First sentence of the docstring of each nested group of settings."""
    found = {}
    for group in parser._action_groups:
        dotted = [a.dest.partition(".")[0] for a in group._group_actions if "." in a.dest]
        if dotted and group.title:
            found[dotted[0]] = group.title.rstrip(".:").partition(". ")[0]
    return found


def entry(action: Action, name: str, width: int, default: str) -> str:
    """An option with its text and its default, wrapped."""
    words = " ".join(ASIDE.get(action.dest, action.help or "").replace("%%", "%").replace("``", "").split())
    words = words.partition(" (required, type:")[0].partition(" (type:")[0]
    if default:
        words = f"{words.rstrip()} ({default})"
    head = f"  {name}"
    indent = " " * (COLUMN + 2)
    body = textwrap.wrap(words, max(20, width - COLUMN - 2), break_on_hyphens=False)
    if len(head) > COLUMN:
        return "\n".join([head, *(indent + line for line in body)])
    return "\n".join(
        [f"{head:<{COLUMN + 2}}{body[0] if body else ''}".rstrip(), *(indent + line for line in body[1:])]
    )


def invocation(action: Action) -> str:
    """An option as it is typed, with its value in words."""
    long = action.option_strings[-1].replace("_", "-") if action.option_strings else action.dest
    short = SHORT.get(action.dest)
    if action.dest in ("help", "print_config"):
        return ", ".join([*action.option_strings[:-1], long])
    if action.dest == "config":
        return f"{long} FILE"
    return f"{f'{short}, ' if short else ''}{long} {value_words(hint_of(action))}".rstrip()


def hint_of(action: Action) -> Any:
    """Type of an option's value."""
    return getattr(action, "_typehint", None) or action.type or str


def value_words(hint: Any) -> str:
    """An option's value as a placeholder."""
    hint = without_none(hint)
    if hint is bool:
        return "[true|false]"
    if get_origin(hint) is Literal:
        names = "|".join(map(str, get_args(hint)))
        return names if len(names) <= 28 else "NAME"
    if get_origin(hint) in (list, tuple, Sequence) or hint in (list, tuple):
        return "LIST"
    args = [value_words(a) for a in get_args(hint)] if get_origin(hint) is not dict else []
    simple = {int: "N", float: "X", str: "TEXT", dict: "SETTINGS"}
    return simple.get(hint) or (
        "SETTINGS" if get_origin(hint) is dict else "|".join(dict.fromkeys(args)) or "VALUE"
    )


def default_of(action: Action, item: Field | None, own: Mapping[str, Any] | None) -> str:
    """The default in words; empty if that is not informative.

    Args:
        item: The option's field, if it has one.
        own: See :func:`help_text`.
    """
    default, stands_for = action.default, item.metadata.get("words", "") if item else ""
    if item and item.metadata.get("of_model"):
        return f"the model's own: {written(own[item.name])}" if own and item.name in own else stands_for
    if item and stands_for and default == item.default:
        return f"default: {stands_for}"
    said = default is not None and default is not False and default not in (SUPPRESS, "")
    if action.required or not said or action.dest in ASIDE:
        return ""
    if is_dataclass(default) or hasattr(default, "__dict__"):
        return ""
    return f"default: {written(default)}"


def written(value: Any) -> str:
    """A value as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
