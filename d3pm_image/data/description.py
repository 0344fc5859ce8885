"""Description of a command's images in one line: place, number of images, classes, sizes, modes; and a line
on unused files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..imaging import is_deep
from ..label_sets import counted, sets_of
from ..printable import printable
from .headers import Headers
from .image_source import ImageSource

SHOWN = 5  # class names


def describe(data: DataConfig, source: ImageSource, held_out: ImageSource | None = None) -> str:
    """One line about the images of a command.

    Args:
        source: All images, or the training part of them.
        held_out: The held-out part.
    """
    count = f"{len(source)} images"
    if held_out is not None:
        elsewhere = f" in {where(data, data.val_root)}" if data.val_root else ""
        count = (
            f"{len(source) + len(held_out)} images ({len(source)} to train on, {len(held_out)} held"
            f" out{elsewhere})"
        )
    headers = source.headers
    place = where(data, data.root) if data.root else printable(source.place or data.source)
    parts = [count, classes(source), *(text for text in (sizes(headers), levels(data, headers)) if text)]
    if headers.foreign:
        parts.append(f"{headers.foreign} with a colour profile other than sRGB, which is converted")
    if headers.looked < len(source) and headers.looked:
        parts.append(f"sizes and modes of {headers.looked} looked at")
    return f"images: {data.source} {place}: {', '.join(parts)}"


def where(data: DataConfig, root: str) -> str:
    """The root as a whole path."""
    place = Path(root).expanduser()
    return printable(place.resolve() if data.source in ("folder", "shards") else place, 0)


def classes(source: ImageSource) -> str:
    """How many classes, the first names, and those without an image."""
    names = source.class_names
    if source.labels is None or not names:
        return "no classes"
    if sets_of(names) is not None:
        return counted(names)
    shown = ", ".join(printable(name, 40) for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    empty = np.setdiff1d(np.arange(len(names)), np.unique(source.labels))
    without = ", ".join(printable(names[i], 40) for i in empty[:SHOWN]) + (
        ", …" if len(empty) > SHOWN else ""
    )
    return (
        f"{len(names)} class{'es' if len(names) != 1 else ''}"
        f" ({shown}{f'; no image of {without}' if len(empty) else ''})"
    )


def sizes(headers: Headers) -> str:
    """Smallest and largest size, and the modes, most frequent first."""
    if not headers.looked:
        return ""
    both = list(dict.fromkeys(f"{width}x{height}" for width, height in headers.sizes))
    modes = [mode for mode, _ in headers.modes.most_common()]
    return f"{' to '.join(both)} pixels, {', '.join(modes)}"


def levels(data: DataConfig, headers: Headers) -> str:
    """The level of white, where images have more than 8 bits per level."""
    deep = sum(number for mode, number in headers.modes.items() if is_deep(mode))
    if not deep:
        return ""
    return f"white at {data.white:g}" if data.white > 0 else "white by each image's own mode and extreme"


def not_used(*sources: ImageSource) -> str:
    """A line about unused files; empty if all are used."""
    found = [source.unused.summary() for source in sources if source.unused]
    return f"not used: {'; '.join(found)}" if found else ""
