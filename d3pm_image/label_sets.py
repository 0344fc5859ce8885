"""Several sets of labels for one model, such as the group and the style of an emoji.

An image has at most one label of each set. All of them together are one number, so that labels stay (B,)
int64 everywhere: its digits are the labels of the sets, the last set's first. Digit C_i of a set with C_i
labels means none of that set, and the largest number means no label at all, as the number of classes does
where there is one set.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .config import check, closest_match

MOST = 65_535
"""Combinations of labels that a model can have; one label of a set, or none, for each of its sets."""
SIGNS = ',="*'
"""What names of sets and of their labels must not have: texts of labels give it a meaning."""
NO_CLASS = ("none", "no class")
"""Texts for no class, unless a class has that name."""
MOST_IN_TEXT = 1_000_000
"""Labels in one text."""


def find_class(name: str, class_names: Sequence[str]) -> int | None:
    """Number of the class of a name: exactly equal, else the only one that is equal in another Unicode form
    (NFC, NFD) or case."""
    if name in class_names:
        return list(class_names).index(name)
    for plain in (composed, small):
        alike = [i for i, other in enumerate(class_names) if plain(other) == plain(name)]
        if len(alike) == 1:
            return alike[0]
    return None


def composed(name: str) -> str:
    """A name in one Unicode form; macOS uses another form than Linux and Windows."""
    return unicodedata.normalize("NFC", name)


def small(name: str) -> str:
    """A name without upper case."""
    return composed(composed(name).casefold())


@dataclass(frozen=True)
class LabelSets:
    """Names of sets, and of the labels in each.

    Args:
        names: Of the sets, two or more.
        labels: Of each set, one or more.

    Raises:
        ConfigError: names that texts of labels cannot have, one twice, or too many combinations.
    """

    names: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        check(len(self.names) == len(self.labels) > 1, "labels", len(self.names), "needs two sets or more")
        for kind in (self.names, *self.labels):
            odd = [name for name in kind if not plain(name)]
            hint = 'rename them: a name is not empty or "none", and has no , = " * and no space at its ends'
            check(not odd, "labels", odd[:3], hint)
            twice = sorted({name for name in kind if kind.count(name) > 1})
            check(not twice, "labels", twice[:3], "is there twice; a name means one label of a set")
        empty = [name for name, kind in zip(self.names, self.labels, strict=True) if not kind]
        check(not empty, "labels", empty, "has no label; leave it out")
        hint = f"combinations of {len(self.names)} sets are too many; use sets with at most {MOST} together"
        check(self.count <= MOST, "labels", self.count, hint)

    @classmethod
    def of(cls, values: Mapping[str, Sequence[str]]) -> LabelSets:
        """Sets from their names and labels."""
        return cls(tuple(values), tuple(tuple(labels) for labels in values.values()))

    def values(self) -> dict[str, list[str]]:
        """Names and labels, for JSON."""
        return {name: list(labels) for name, labels in zip(self.names, self.labels, strict=True)}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Labels in each set, C_i."""
        return tuple(map(len, self.labels))

    @property
    def count(self) -> int:
        """Numbers besides that of no label at all: Π (C_i + 1) - 1."""
        return math.prod(size + 1 for size in self.sizes) - 1

    @property
    def places(self) -> tuple[int, ...]:
        """What a digit of each set is worth."""
        after = [math.prod(size + 1 for size in self.sizes[i + 1 :]) for i in range(len(self.sizes))]
        return tuple(after)

    def digits(self, number: int) -> tuple[int, ...]:
        """The labels of a number, one of each set; C_i is none."""
        return tuple(
            number // place % (size + 1) for place, size in zip(self.places, self.sizes, strict=True)
        )

    def number(self, digits: Iterable[int]) -> int:
        """The number of labels, one of each set."""
        return sum(digit * place for digit, place in zip(digits, self.places, strict=True))

    def text(self, number: int) -> str:
        """A number as ``group=flags,style=noto``; sets without a label are left out."""
        return ",".join(
            f"{name}={labels[digit]}"
            for name, labels, digit in zip(self.names, self.labels, self.digits(number), strict=True)
            if digit < len(labels)
        )

    def weights(self, given: float | str, field: str, most: float, other: float) -> list[float]:
        """A number for each set, from one for all, or a text with ``set=number`` for some; ``other`` for the
        rest.

        Raises:
            ConfigError: no number in [0, most], or an unknown set.
        """
        example = f"{self.names[0]}={min(most, 2) / 2:g}"
        hint = f"give a number from 0 to {most:g}, or one for each set, such as {example}"
        found, text = dict.fromkeys(self.names, other), str(given)
        for part in text.split(","):
            name, equals, value = part.partition("=")
            named = name.strip() if equals else ""
            check(not equals or named in found, field, text, f"sets are {', '.join(self.names)}")
            try:
                share = float(value if equals else name)
            except ValueError:
                share = math.nan
            check(0 <= share <= most, field, text, hint)
            found |= {named: share} if equals else dict.fromkeys(self.names, share)
        return list(found.values())

    def in_turn(self, seen: Sequence[int] = ()) -> list[int]:
        """Numbers with a label of every set, in an order in which the labels of all sets change from one to
        the next; only those of ``seen``, where there are any."""
        order: list[tuple[int, ...]] = [(label,) for label in range(self.sizes[0])]
        for size in self.sizes[1:]:
            repeat = math.lcm(len(order), size)
            order = [(*order[i % len(order)], (i + i // repeat) % size) for i in range(len(order) * size)]
        numbers, wanted = [self.number(digits) for digits in order], set(seen)
        return [number for number in numbers if number in wanted] or numbers

    def read(self, text: str, field: str = "labels") -> list[int]:
        """Numbers that a text names.

        ``set=label`` pairs are separated by commas; a set that comes again begins the next image's labels.
        ``*`` is every label of a set in turn, ``none`` none of it, and a label alone is of the only set that
        has it.

        Raises:
            ConfigError: an unknown set or label.
        """
        images: list[dict[int, Sequence[int]]] = []
        for part in text.split(","):
            if part.strip().casefold() in NO_CLASS:
                images.append({})
                continue
            at, chosen = self._pair(part.strip(), field)
            if not images or at in images[-1] or not images[-1]:
                images.append({})
            images[-1][at] = chosen
        found: list[int] = []
        for image in images:
            found += self._combinations(image)
            hint = f"give {MOST_IN_TEXT:,} labels at most; they are repeated in turn"
            check(len(found) <= MOST_IN_TEXT, field, f"{text[:40]}…", hint)
        return found

    def _combinations(self, image: Mapping[int, Sequence[int]]) -> list[int]:
        """Numbers of one image's labels, more than one where a set has several."""
        found: list[tuple[int, ...]] = [()]
        for at, size in enumerate(self.sizes):
            found = [(*digits, label) for digits in found for label in image.get(at, (size,))]
        return [self.number(digits) for digits in found]

    def _pair(self, part: str, field: str) -> tuple[int, Sequence[int]]:
        """A set's number and the labels that ``set=label``, or a label alone, names."""
        name, equals, value = part.partition("=")
        if not equals:
            having = [i for i, labels in enumerate(self.labels) if find_class(part, labels) is not None]
            hint = f"is no label of one set alone; write SET=LABEL: {self.known()}"
            every = [label for labels in self.labels for label in labels]
            check(len(having) == 1, field, part, hint + closest_match(part, every))
            name, value = self.names[having[0]], part
        at = find_class(name.strip(), self.names)
        hint = f"no set of labels has the name {name.strip()}; use {', '.join(self.names)}"
        check(at is not None, field, part, hint + closest_match(name, self.names))
        assert at is not None
        labels, value = self.labels[at], value.strip()
        if value == "*":
            return at, range(len(labels))
        found = find_class(value, labels)
        if found is None and value.casefold() in NO_CLASS:
            found = len(labels)
        shown = ", ".join(labels[:20]) + (" …" if len(labels) > 20 else "")
        hint = f"{self.names[at]} has {shown}{closest_match(value, labels)}"
        check(found is not None, field, part, hint)
        assert found is not None
        return at, (found,)

    def known(self) -> str:
        """The sets with their first labels, for messages."""
        parts = (
            f"{name} is one of {', '.join(labels[:12])}{' …' if len(labels) > 12 else ''}"
            for name, labels in zip(self.names, self.labels, strict=True)
        )
        return "; ".join(parts)


class JointNames(tuple[str, ...]):
    """Names of all combinations of labels of several sets but that of none, in the order of their numbers;
    ``sets`` are the sets, and ``seen`` the numbers that training images have.

    Where a model's or a source's ``class_names`` are of this type, it has several sets of labels.
    """

    sets: LabelSets
    seen: tuple[int, ...]

    def __new__(cls, sets: LabelSets, seen: Sequence[int] = ()) -> JointNames:
        names = super().__new__(cls, (sets.text(number) for number in range(sets.count)))
        names.sets, names.seen = sets, tuple(int(number) for number in seen)
        return names

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.sets, self.seen


def plain(name: str) -> bool:
    """Whether texts of labels can have a name."""
    spoken = bool(name.strip()) and name == name.strip() and name.casefold() not in NO_CLASS
    return spoken and not any(sign in name for sign in SIGNS)


def sets_of(class_names: Sequence[str]) -> LabelSets | None:
    """The sets of labels that names are of, or None for one set."""
    return class_names.sets if isinstance(class_names, JointNames) else None


def to_json(class_names: Sequence[str]) -> list[str] | dict[str, Any]:
    """Names of classes, or of several sets, as JSON values."""
    if isinstance(class_names, JointNames):
        return {"sets": class_names.sets.values(), "seen": list(class_names.seen)}
    return list(class_names)


def from_json(found: Any) -> list[str] | JointNames | None:
    """What :func:`to_json` gave; None for anything else.

    Raises:
        ConfigError: see :class:`LabelSets`.
    """
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return found
    if not isinstance(found, dict) or not isinstance(found.get("sets"), dict):
        return None
    kinds, seen = found["sets"].values(), found.get("seen", [])
    texts = all(isinstance(kind, list) and all(isinstance(name, str) for name in kind) for kind in kinds)
    if not texts or not isinstance(seen, list) or not all(isinstance(number, int) for number in seen):
        return None
    return JointNames(LabelSets.of(found["sets"]), seen)


def counted(class_names: Sequence[str]) -> str:
    """How many classes, or labels of each set, in words; empty for none."""
    if isinstance(class_names, JointNames):
        sets = class_names.sets
        parts = [f"{len(labels)} of {name}" for name, labels in zip(sets.names, sets.labels, strict=True)]
        return f"{len(sets.names)} sets of labels ({', '.join(parts)})"
    return f"{len(class_names)} class{'es' if len(class_names) != 1 else ''}" if class_names else ""


def listed(class_names: Sequence[str], shown: Callable[[str], str] = str) -> str:
    """The names of all classes, or of all labels by set, each as ``shown`` gives it."""
    sets = sets_of(class_names)
    if sets is None:
        return ", ".join(map(shown, class_names))
    kinds = zip(sets.names, sets.labels, strict=True)
    return "; ".join(f"{shown(name)}: {', '.join(map(shown, kind))}" for name, kind in kinds)
