"""Labels of a folder's images from a CSV file, or from several levels of subfolders."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import ConfigError, check
from ..label_sets import NO_CLASS, JointNames, LabelSets
from ..printable import printable
from .image_source import text_of

ENDINGS = (".csv", ".tsv")
Rows = dict[str, tuple[str, ...]]
"""Labels of each set by file name; an empty text is none."""


def labels_of(text: str, files: Sequence[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels (n,) int64 of images, -1 for none, and the names of their classes, which are
    :class:`~d3pm_image.label_sets.JointNames` for several sets.

    Args:
        text: ``LABELS.csv``, ``LABELS.csv:column,column``, or names of the levels of subfolders, such as
            ``group/style``.
        files: Paths relative to the folder of the images.

    Raises:
        ConfigError: no such file, not what is described above, or no image that it names.
    """
    place, columns = parted(text)
    if place is None:
        names = [name.strip() for name in text.split("/")]
        file, endings = Path(text).expanduser(), " or ".join(ENDINGS)
        hint = f"is a file, and not names of levels of subfolders; name one with the ending {endings}"
        check(not (file.suffix or file.is_absolute() or file.is_file()), "data.labels", text, hint)
        hint = f"names {len(names)} levels of subfolders, and this image lies less deep; name a CSV file, or"
        shallow = next((path for path in files if len(path.parts) <= len(names)), None)
        check(shallow is None, "data.labels", text, f"{hint} move it: {printable(shallow or '', 0)}")
        values = [tuple(text_of(part).strip() for part in path.parts[: len(names)]) for path in files]
    else:
        names, rows = read_rows(place, columns)
        values = matched(rows, len(names), files, text)
    return numbered(names, values, text)


def parted(text: str) -> tuple[Path | None, list[str]]:
    """The file that a text names and the columns after it; no file for levels of folders."""
    for ending in ENDINGS:
        at = text.lower().rfind(ending)
        after = text[at + len(ending) :]
        if at >= 0 and (not after or after.startswith(":")):
            columns = [name.strip() for name in after[1:].split(",") if name.strip()]
            return Path(text[: at + len(ending)]).expanduser(), columns
    return None, []


def read_rows(place: Path, columns: Sequence[str]) -> tuple[list[str], Rows]:
    """Names of the sets, and labels by file name.

    Raises:
        ConfigError: see :func:`labels_of`.
    """
    field = "data.labels"
    try:
        with open(place, newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, delimiter="\t" if place.suffix.lower() == ".tsv" else ","))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        hint = f"cannot be read as a CSV file in UTF-8 ({type(error).__name__})"
        raise ConfigError(field, printable(place, 0), hint) from error
    hint = "needs a first line with names: that of the file names' column, then one for each set of labels"
    check(bool(lines) and len(lines[0]) > 1, field, printable(place, 0), hint)
    head = [name.strip() for name in lines[0]]
    wanted = list(columns) or head[1:]
    unknown = [name for name in wanted if name not in head[1:]]
    check(not unknown, field, unknown, f"no such column; there are {', '.join(head[1:])}")
    at = [head.index(name, 1) for name in wanted]
    rows: Rows = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in line):
            continue
        hint = f"line {number} has {len(line)} cells, and the first line {len(head)}"
        check(len(line) == len(head), field, printable(place, 0), hint)
        name, labels = line[0].strip().replace("\\", "/"), tuple(line[i].strip() for i in at)
        hint = f"line {number} names an image a second time, with other labels"
        check(rows.setdefault(name, labels) == labels, field, printable(name), hint)
    return wanted, rows


def matched(rows: Rows, sets: int, files: Sequence[Path], text: str) -> list[tuple[str, ...]]:
    """Labels of each image: those of its path in the folder, else of its name alone. Images that are not in
    the file have none.

    Raises:
        ConfigError: no image is in the file.
    """
    found = [rows.get(path.as_posix(), rows.get(path.name)) for path in files]
    some = next(iter(rows), "")
    hint = f"names none of the images: it has {printable(some)!r}, and the folder {printable(files[0])!r}"
    check(any(labels is not None for labels in found), "data.labels", text, hint)
    return [labels or ("",) * sets for labels in found]


def numbered(
    names: Sequence[str], values: Sequence[tuple[str, ...]], text: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers, and the names of their classes."""
    columns = list(zip(*values, strict=True))
    kinds = [sorted(label for label in set(column) if label and not is_none(label)) for column in columns]
    empty = [name for name, labels in zip(names, kinds, strict=True) if not labels]
    check(not empty, "data.labels", text, f"no image has a label of {', '.join(empty)}; leave that set out")
    digits = [
        np.array([of.get(label, len(of)) for label in column], np.int64)
        for column, of in zip(columns, ({n: i for i, n in enumerate(kind)} for kind in kinds), strict=True)
    ]
    if len(names) == 1:
        return np.where(digits[0] == len(kinds[0]), -1, digits[0]), tuple(kinds[0])
    sets = LabelSets(tuple(names), tuple(map(tuple, kinds)))
    numbers = np.stack(digits, 1) @ np.array(sets.places, np.int64)
    full = np.stack([d < size for d, size in zip(digits, sets.sizes, strict=True)], 1).all(1)
    classes = JointNames(sets, np.unique(numbers[full]).tolist())
    return np.where(numbers == sets.count, -1, numbers), classes


def is_none(label: str) -> bool:
    """Whether a label is a word for none."""
    return label.casefold() in NO_CLASS
