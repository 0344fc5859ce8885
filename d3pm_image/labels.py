"""Classes as users give them: names, numbers, one for all or a sequence that is repeated. Names take
precedence over numbers everywhere.

The command line's texts are read here too, once the names of the classes are known (:class:`LabelText`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from .config import check, closest_match
from .label_sets import MOST_IN_TEXT, NO_CLASS, JointNames, find_class, sets_of


@dataclass(frozen=True)
class LabelText:
    """Labels as the command line takes them: ``Dress,Coat``, ``0..9``, ``3,none``, ``"a,b",c``."""

    text: str


Labels = Sequence[int | str | None] | int | str | LabelText | None


def parse_labels(text: str) -> LabelText | None:
    """Labels from the command line, for :func:`label_ids`; None, every class in turn, for an empty text."""
    return LabelText(text) if text.strip() else None


def label_ids(labels: Labels, count: int, class_names: Sequence[str], first: int = 0) -> list[int]:
    """Class numbers of ``count`` images; the number of classes means no label.

    Args:
        labels: One class (name or number) for all, a sequence that is repeated in turn, a text of the command
            line, or None: every class in turn for a conditional model. None inside a sequence means no label
            for that image.
        count: Number of images.
        class_names: Names of the classes, empty for an unconditional model.
        first: Number of the first image.

    Raises:
        ConfigError: an unknown class, or labels for a model without classes.
    """
    text = labels.text if isinstance(labels, LabelText) else None
    if isinstance(labels, str) and sets_of(class_names) is not None:
        text = labels
    ids = None if text is None else read_labels(text, class_names)
    if ids is None:
        if labels is None or isinstance(labels, LabelText):
            labels = every_label(class_names) or [None]
        # any other sequence counts as one label, which label_id refuses
        chosen = labels if isinstance(labels, (list, tuple, range)) else [cast("int | str | None", labels)]
        check(bool(chosen), "labels", chosen, "give at least one label, or none at all")
        ids = [label_id(label, class_names) for label in cast("Iterable[int | str | None]", chosen)]
    return [ids[i % len(ids)] for i in range(first, first + count)]


def every_label(class_names: Sequence[str]) -> Sequence[int]:
    """Numbers of all classes, in the order in which images get them where none is asked for; of several sets
    the combinations that training images have."""
    if isinstance(class_names, JointNames):
        return class_names.sets.in_turn(class_names.seen)
    return range(len(class_names))


def label_id(label: int | str | None, class_names: Sequence[str], field: str = "labels") -> int:
    """Number of one class, named or numbered; the number of classes for None."""
    classes = len(class_names)
    if label is None:
        return classes
    check(classes > 0, field, label, "this model was trained without classes; leave labels out")
    sets = sets_of(class_names)
    if sets is not None and isinstance(label, str):
        numbers = sets.read(label, field)
        check(len(numbers) == 1, field, label, "names several; give one label of each set")
        return numbers[0]
    found = find_class(label, class_names) if isinstance(label, str) else None
    if found is not None:
        return found
    number = int(str(label)) if re.fullmatch("-?[0-9]{1,18}", str(label)) else -1
    meant = closest_match(str(label), class_names)
    hint = f"use 0 to {classes - 1} or a class name: {known(class_names)}{meant}"
    check(0 <= number < classes, field, label, hint)
    return number


def known(class_names: Sequence[str]) -> str:
    """The first classes with their numbers, for messages."""
    if (sets := sets_of(class_names)) is not None:
        return sets.known()
    listed = ", ".join(name if name == str(i) else f"{i} {name}" for i, name in enumerate(class_names[:20]))
    return f"{listed}{' …' if len(class_names) > 20 else ''}"


def read_labels(text: str, class_names: Sequence[str], field: str = "labels") -> list[int] | None:
    """Class numbers that a text names; None for an empty one.

    Commas separate. Names take precedence over numbers, ranges of numbers (``0..9``) and the words for no
    class. A text that as a whole is the name of a class is that class; in double quotes anything is a name,
    with ``\\"`` for a quote.

    Raises:
        ConfigError: an unknown class, a quote without end, or a range that runs backwards or beyond the
            classes.
    """
    if not text.strip():
        return None
    if (sets := sets_of(class_names)) is not None:
        return sets.read(text, field)
    whole = find_class(text, class_names)
    if whole is not None:
        return [whole]
    ids = []
    for part, quoted in split_labels(text, field):
        ids += part_ids(part, quoted, class_names, field)
        hint = f"give {MOST_IN_TEXT:,} labels at most; they are repeated in turn"
        check(len(ids) <= MOST_IN_TEXT, field, f"{text[:40]}…", hint)
    return ids


def read_classes(
    text: str, class_names: Sequence[str], field: str = "labels", most: int = 1
) -> list[int | None]:
    """One class, or up to ``most``, that a text names; None for no class, which an empty text means too.

    Raises:
        ConfigError: see :func:`read_labels`, or more classes.
    """
    ids = read_labels(text, class_names, field) or [len(class_names)]
    one = "give one class, by name or number, or none for no class"
    check(
        len(ids) <= most,
        field,
        text,
        one if most == 1 else "give one class, or two separated by a comma, or none for no class",
    )
    return [None if number == len(class_names) else number for number in ids]


def split_labels(text: str, field: str) -> list[tuple[str, bool]]:
    """Parts between commas, and whether each was in double quotes. Raises ConfigError for a quote without
    end."""
    parts: list[tuple[str, bool]] = []
    now, quoted, inside = "", False, False
    characters = iter(text)
    for c in characters:
        if inside:
            inside = c != '"'
            now += next(characters, "") if c == "\\" else c if inside else ""
        elif c == '"' and not now.strip() and not quoted:
            now, quoted, inside = "", True, True
        elif c == ",":
            parts.append((now, quoted))
            now, quoted = "", False
        elif not (quoted and c.isspace()):
            now += c
    check(not inside, field, text, 'has a quote without end; write "NAME", and \\" for a quote inside')
    return [*parts, (now, quoted)]


def part_ids(part: str, quoted: bool, class_names: Sequence[str], field: str) -> list[int]:
    """Class numbers of one part of a text."""
    part = part if quoted else part.strip()
    found = find_class(part, class_names)
    if found is not None:
        return [found]
    check(
        not quoted,
        field,
        part,
        f"no class has this name: {known(class_names)}{closest_match(part, class_names)}",
    )
    if part.casefold() in NO_CLASS:
        return [len(class_names)]
    ends = re.fullmatch(r"([0-9]{1,18})\.\.([0-9]{1,18})", part)
    if ends:
        return range_ids(ends[1], ends[2], class_names, field)
    return [label_id(int(part) if re.fullmatch("-?[0-9]{1,18}", part) else part, class_names, field)]


def range_ids(first: str, last: str, class_names: Sequence[str], field: str) -> list[int]:
    """Class numbers of a range: of the classes with these names where both ends are names, else by number."""
    text, low, high = f"{first}..{last}", int(first), int(last)
    check(low <= high, field, text, "a range runs from the smaller to the larger number, such as 0..9")
    check(bool(class_names), field, text, "this model was trained without classes; leave labels out")
    named = [find_class(end, class_names) is not None for end in (first, last)]
    if not any(named):
        hint = f"use 0 to {len(class_names) - 1} or a class name: {known(class_names)}"
        check(high < len(class_names), field, text, hint)
        return list(range(low, high + 1))
    hint = f"one end is the name of a class and the other is not: {known(class_names)}"
    check(all(named), field, text, hint)
    hint = f"there are {len(class_names)} classes: {known(class_names)}"
    check(high - low < len(class_names), field, text, hint)
    digits = len(first) if len(first) == len(last) else 0
    return [
        label_id_of_name(str(number).zfill(digits), text, class_names, field)
        for number in range(low, high + 1)
    ]


def label_id_of_name(name: str, text: str, class_names: Sequence[str], field: str) -> int:
    """Number of a class inside a range of names. Raises ConfigError if there is none."""
    found = find_class(name, class_names)
    check(found is not None, field, text, f"no class has the name {name}: {known(class_names)}")
    return cast("int", found)


def label_text(number: int, class_names: Sequence[str]) -> str:
    """A class, or no class for the number of classes, as :func:`read_labels` reads it back."""
    if number == len(class_names):
        return next((word for word in NO_CLASS if find_class(word, class_names) is None), NO_CLASS[0])
    name = class_names[number]
    if isinstance(class_names, JointNames):
        return name
    if (
        find_class(name, class_names) == number
        and "," not in name
        and name == name.strip()
        and not name.startswith('"')
    ):
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
