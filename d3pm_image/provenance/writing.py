"""New images as files, one each, that say how each of them was made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..imaging import save_image
from ..outputs import name_part, new_files
from ..printable import printable


def write_images(
    folder: Path,
    images: Sequence[Image.Image],
    ids: Sequence[int],
    class_names: Sequence[str],
    facts: dict[str, Any],
    first: int,
    last: int,
    overwrite: bool = False,
) -> list[Path]:
    """Write one batch as a PNG each, named after its number, the seed and the class; returns the files.

    Args:
        ids: Class of each image; the number of classes for none.
        facts: What all of them carry, their ``seed`` among it.
        first: Number of the first image of the batch.
        last: Largest number of the whole request, which says how many digits names have.
    """
    digits, written = max(4, len(str(last))), []
    together = {"batch_first": first, "batch_size": len(images)}
    for number, image, label in zip(range(first, first + len(images)), images, ids, strict=False):
        name = [*class_names, "no class"][label]
        ending = f"-{name_part(name)}" if class_names else ""
        path = folder / f"{number:0{digits}d}-seed{facts['seed']}{ending}.png"
        with new_files(path, overwrite) as files:
            save_image(image, files.draft, {**facts, "number": number, "label": name, **together})
        written.append(files.path)
    return written


def listed(folder: Path, files: Sequence[Path]) -> str:
    """Files of a folder in a few words."""
    names = printable(files[0].name, 0) + (f" … {printable(files[-1].name, 0)}" if len(files) > 1 else "")
    return f"{printable(folder, 0)} ({names})"
