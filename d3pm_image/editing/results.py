"""Results of an edit: their file names, the sheet of several variants, and the writing of all of them
together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..imaging import enlarge, for_viewing, grid_image, plain, save_animation, save_image
from ..outputs import added, new_files
from .image_files.files import ImageFile, write_image_file

WIDEST = 512
"""Pixels of an image's longer side on a sheet."""
COLOURED = 8
"""Difference of the channels, of 255, from which an image counts as coloured: JPEG leaves a little in grey
ones."""


def coloured(image: Image.Image) -> bool:
    """Whether an image has more than shades of grey."""
    small = plain(image, 3)
    small.thumbnail((256, 256))
    return int(np.ptp(np.asarray(small).astype(int), axis=2).max()) > COLOURED


def blanked(image: Image.Image, hidden: np.ndarray) -> Image.Image:
    """An RGB or RGBA image with its hidden pixels, bool (h, w), in grey."""
    result = image.copy()
    result.paste((128, 128, 128, 255)[: len(image.mode)], mask=Image.fromarray(hidden))
    return result


def in_colour(image: Image.Image) -> Image.Image:
    """An image of any mode in RGB, or in RGBA where it has transparency."""
    return plain(image, 4 if image.has_transparency_data else 3)


def result_files(out: Path, variants: int) -> list[Path]:
    """A file for each result: ``out`` itself, or NAME-1, NAME-2 … beside the sheet of several."""
    if variants == 1:
        return [out]
    return [added(out, f"-{number}") for number in range(1, variants + 1)]


def variants_sheet(
    image: Image.Image, hidden: np.ndarray | None, results: Sequence[Image.Image]
) -> Image.Image:
    """The original, what was hidden of it, bool (h, w), and all results on one sheet; transparency shows a
    chequerboard."""
    shown = {"original": in_colour(image)}
    if hidden is not None:
        shown["masked"] = blanked(shown["original"], hidden)
    shown |= {f"result {number}": in_colour(result) for number, result in enumerate(results, 1)}
    tiles = []
    for tile in shown.values():
        if max(tile.size) > WIDEST:
            tile.thumbnail((WIDEST, WIDEST))
        tiles.append(for_viewing(tile, 96))
    return grid_image(tiles, min(len(tiles), 8), list(shown))


def write_results(
    results: Sequence[Image.Image],
    out: Path,
    source: ImageFile,
    metadata: dict[str, Any],
    sheet: tuple[Image.Image, np.ndarray | None],
    first: int = 0,
    overwrite: bool = False,
) -> tuple[list[Path], str | None]:
    """Write one result as ``out``, or each of several as a file of its own beside their sheet.

    Args:
        source: The file that was edited.
        metadata: How the results were made, which PNGs carry.
        sheet: Image and hidden pixels that :func:`variants_sheet` shows.
        first: Number of the first result.

    Returns:
        The files, the sheet first, and a line where a format does not keep every pixel.
    """
    several = len(results) > 1
    with new_files(
        out, overwrite, lambda one: [one, *result_files(one, len(results))] if several else [one]
    ) as files:
        drafts = files.drafts[several:]
        numbers = [{"variant": first + number} if several else {} for number in range(len(results))]
        notes = [
            write_image_file(one, path, source, metadata | own)
            for one, path, own in zip(results, drafts, numbers, strict=True)
        ]
        if several:
            save_image(variants_sheet(*sheet, results), files.draft, metadata)
    return files.paths, notes[0]


def write_frames(
    frames: Sequence[Image.Image],
    ends: Sequence[Image.Image],
    path: Path,
    frame_ms: int,
    metadata: dict[str, Any],
) -> None:
    """An interpolation as a GIF or WebP animation, or else as a strip of its frames between the two images.

    Args:
        ends: The first and the last image, at the size of the frames.
        metadata: How the frames were made, which a PNG carries.
    """
    if path.suffix.lower() in (".gif", ".webp"):
        save_animation([enlarge(frame, 256) for frame in frames], path, frame_ms, max(1000, frame_ms))
        return
    shown = [ends[0], *frames, ends[1]]
    captions = ["a", *map(str, range(1, len(frames) + 1)), "b"]
    tiles = [for_viewing(i, 96) for i in shown]
    save_image(grid_image(tiles, min(len(shown), 12), captions), path, metadata)
