"""New images as files, one per image, that record how they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..imaging import labelled_grid, save_image
from ..outputs import name_part, new_files
from ..printable import printable


def image_path(
    folder: Path, number: int, last: int, metadata: dict[str, Any], label: int, class_names: Sequence[str]
) -> Path:
    """The file of an image: named after its number, with as many digits as the ``last`` one of its request,
    the seed and the class."""
    digits = max(4, len(str(last)))
    ending = f"-{name_part([*class_names, 'no class'][label])}" if class_names else ""
    return folder / f"{number:0{digits}d}-seed{metadata['seed']}{ending}.png"


def write_images(
    folder: Path,
    images: Sequence[Image.Image],
    ids: Sequence[int],
    class_names: Sequence[str],
    metadata: dict[str, Any],
    first: int,
    last: int,
    overwrite: bool = False,
    there: Mapping[int, str] | None = None,
) -> list[Path]:
    """Write one batch as one PNG per image, see :func:`image_path`; returns the files.

    Args:
        ids: Class of each image; the number of classes for none.
        metadata: Metadata of all of them, including their ``seed``.
        first: Number of the first image of the batch.
        last: Largest number of the whole request.
        there: Files of existing images, by number.
    """
    written, there = [], there or {}
    together = {"batch_first": first, "batch_size": len(images)}
    for number, image, label in zip(range(first, first + len(images)), images, ids, strict=False):
        if number in there:
            written.append(Path(there[number]))
            continue
        name = [*class_names, "no class"][label]
        path = image_path(folder, number, last, metadata, label, class_names)
        with new_files(path, overwrite) as files:
            save_image(image, files.draft, {**metadata, "number": number, "label": name, **together})
        written.append(files.path)
    return written


def write_grid(
    path: Path,
    images: Sequence[Image.Image],
    ids: Sequence[int],
    class_names: Sequence[str],
    columns: int,
    metadata: dict[str, Any],
    overwrite: bool = False,
) -> Path:
    """Write all images side by side as one file, see :func:`~d3pm_image.imaging.labelled_grid`; returns the
    file."""
    with new_files(path, overwrite) as files:
        save_image(labelled_grid(images, ids, class_names, columns), files.draft, metadata)
    return files.path


def listed(folder: Path, files: Sequence[Path]) -> str:
    """Files of a folder, or the one file that holds all, in a few words."""
    if files[0].parent != folder:
        return printable(files[0], 0)
    names = printable(files[0].name, 0) + (f" … {printable(files[-1].name, 0)}" if len(files) > 1 else "")
    return f"{printable(folder, 0)} ({names})"
