"""Edits of a folder of images: its files, the mask of each, and the names of the results.

Results are PNGs named after their images: a PNG keeps pixels and records how it was made, by which a resumed
request recognises its results.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import check
from ..image_io import image_endings
from ..outputs import added, folder_to_write
from .image_files.files import kind_of
from .results import result_files


@dataclass(frozen=True)
class EditItem:
    """One image of a folder.

    Args:
        image: Its file.
        mask: File of its mask, the word alpha, or empty for none.
        out: File of its result, or of the sheet of several.
    """

    image: Path
    mask: str
    out: Path

    def results(self, variants: int) -> list[Path]:
        """All files that are written, the sheet of several first."""
        return [self.out, *result_files(self.out, variants)] if variants > 1 else [self.out]


def items_of(image: str, mask: str, out: str, command: str, variants: int = 1) -> list[EditItem]:
    """The images of a folder in the order of their names, each with its mask and its result.

    Args:
        image: Folder of images; its subfolders are not read.
        mask: A mask for all, a folder with one mask per image (of the same name without the ending), the word
            alpha, or empty.
        out: Folder of the results; empty: FOLDER-``command`` beside that of the images.
        variants: Results of an image.

    Raises:
        ConfigError: no image, an image without a mask or a mask without an image, two images or masks whose
            names differ only in their endings, or results in a folder from which images are read.
    """
    folder = Path(image).expanduser()
    own = folder if folder.name not in ("", "..") else folder.resolve()
    place = Path(out).expanduser() if out else own.with_name(f"{own.name}-{command}")
    hint = "is a file's name; each image of a folder gets a file of its own: name a folder"
    check(place.is_dir() or not (kind_of(place) or place.suffix.lower() == ".npz"), "out", out, hint)
    folder_to_write(place)
    masks = Path(mask).expanduser() if mask not in ("", "alpha") else None
    for read in (folder, masks):
        hint = "is a folder that is read; choose another one"
        check(read is None or place.resolve() != read.resolve(), "out", str(place), hint)
    images = [path for path in images_in(folder) if masks is None or path.resolve() != masks.resolve()]
    hint = "holds no images; those of its subfolders are not read"
    check(bool(images), "image", image, hint)
    by_name = masks_of(images, masks) if masks is not None and masks.is_dir() else {}
    items = [
        EditItem(path, str(by_name.get(path.stem, masks or mask)), added(place / path.name, "", ".png"))
        for path in images
    ]
    check_names(items, variants)
    return items


def images_in(folder: Path) -> list[Path]:
    """Files of a folder with an ending of an image, sorted by name; hidden ones are left out."""
    endings = image_endings()
    named = (path for path in folder.iterdir() if path.suffix.lower() in endings and path.name[0] != ".")
    return sorted(path for path in named if path.is_file())


def masks_of(images: Sequence[Path], folder: Path) -> dict[str, Path]:
    """The mask of each image by its name without ending.

    Raises:
        ConfigError: two masks of a name, a mask without an image, or an image without a mask.
    """
    masks: dict[str, Path] = {}
    for path in images_in(folder):
        hint = f"and {path.name} have one name; each image has one mask: remove one"
        check(path.stem not in masks, "mask", str(masks.get(path.stem)), hint)
        masks[path.stem] = path
    names = {path.stem for path in images}
    over = [path for name, path in masks.items() if name not in names]
    hint = f"belongs to no image; a mask has the name of its image{others(over)}"
    check(not over, "mask", str(over[0]) if over else "", hint)
    bare = [path for path in images if path.stem not in masks]
    hint = f"holds no mask for {bare[0].name if bare else ''}{others(bare)}; a mask has the name of its image"
    check(not bare, "mask", str(folder), hint)
    return masks


def others(paths: Sequence[Path]) -> str:
    """How many more there are than the first."""
    return f" (and {len(paths) - 1} more)" if len(paths) > 1 else ""


def check_names(items: Sequence[EditItem], variants: int) -> None:
    """Raises ConfigError if two images have results of one name."""
    owners: dict[Path, Path] = {}
    for item in items:
        for path in item.results(variants):
            other = owners.setdefault(path, item.image)
            hint = f"has the result {path.name}, as {item.image.name} has; rename one of them"
            check(other == item.image, "image", str(other), hint)


def check_free(items: Sequence[EditItem], variants: int) -> None:
    """Raises ConfigError if results exist already."""
    there = [path for item in items for path in item.results(variants) if os.path.lexists(path)]
    hint = (
        f"is there already{others(there)}; add --resume true to draw what is missing, or --overwrite, or"
        " choose another --out"
    )
    check(not there, "out", str(there[0]) if there else "", hint)
