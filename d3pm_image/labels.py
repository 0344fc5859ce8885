"""Classes as users name them: numbers, names, one for all or a sequence in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from .config import near, need

Labels = Sequence[int | str | None] | int | str | None


def label_ids(labels: Labels, count: int, class_names: Sequence[str]) -> list[int]:
    """Class numbers of ``count`` images; the number of classes means no label.

    Args:
        labels: One class (number or name) for all, a sequence that is repeated in turn, or None: every class in
            turn for a conditional model. None inside a sequence means no label for that image.
        count: Number of images.
        class_names: Names of the classes, empty for an unconditional model.

    Raises:
        ConfigError: an unknown class, or labels for a model without classes.
    """
    if labels is None:
        labels = list(range(len(class_names))) or [None]
    # any other sequence counts as one label, which label_id refuses
    chosen = list(labels) if isinstance(labels, (list, tuple, range)) else [cast("int | str | None", labels)]
    need(bool(chosen), "labels", chosen, "give at least one label, or none at all")
    ids = [label_id(label, class_names) for label in chosen]
    return [ids[i % len(ids)] for i in range(count)]


def label_id(label: int | str | None, class_names: Sequence[str]) -> int:
    """Number of one class; the number of classes for None."""
    classes = len(class_names)
    if label is None:
        return classes
    need(classes > 0, "labels", label, "this model was trained without classes; leave labels out")
    if isinstance(label, str) and label in class_names:
        return list(class_names).index(label)
    alike = [i for i, name in enumerate(class_names) if isinstance(label, str) and name.casefold() == label.casefold()]
    if len(alike) == 1:
        return alike[0]
    number = int(label) if str(label).removeprefix("-").isdigit() else -1
    known = ", ".join(name if name == str(i) else f"{i} {name}" for i, name in enumerate(class_names[:20]))
    need(
        0 <= number < classes,
        "labels",
        label,
        f"use 0 to {classes - 1} or a class name: {known}{' …' if classes > 20 else ''}{near(str(label), class_names)}",
    )
    return number
