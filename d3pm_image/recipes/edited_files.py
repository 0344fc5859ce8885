"""Edits of a folder of images, by one process or many.

Images are numbered by their names, and variant j of image i is number ``first`` + i·variants + j under
the seed. The whole folder is read before anything is drawn, a share by each process. Then the batches that
lack results are distributed over the processes in turn, so that any number of processes writes the same
files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError
from ..editing.folders import EditItem
from ..editing.image_files.files import ImageFile
from ..editing.outpaint import outpaint_window
from ..editing.regions import Window
from ..editing.results import write_results
from ..editing.seamless import faded
from ..tiling import Tiling
from ..training.launch import gathered, meet
from .drawn_files import Shared, check_made, compared

MOST_PIXELS = 32_000_000
"""Largest number of pixels of a batch of several images, which are in memory together."""
UNSAID = {"variants": 1, "mask": ""}
"""Metadata that a result may omit, and its value then."""


@dataclass(frozen=True)
class Given:
    """An image that was read.

    Args:
        source: Its file.
        image: The image to repaint, or a larger one if it is continued.
        hidden: Which pixels of ``image``, (h, w) bool; None for all.
    """

    source: ImageFile
    image: Image.Image
    hidden: np.ndarray | None


Read = Callable[[EditItem], Given]
Facts = Callable[[Given, int], dict[str, Any]]
"""(image, number of its first result) → metadata of its results."""
Draw = Callable[[Sequence[Given], int], Sequence[Sequence[Image.Image]]]
"""(images, number of the first result) → the results of each."""


@dataclass(frozen=True)
class FolderRequest(Shared):
    """A request for edited images as files.

    Args:
        items: The images in their order.
        variants: Results of each.
        first: Number of the first result of the first one.
        batch_size: Results that are drawn at once.
        overwrite: Replace existing files.
        resume: Skip what an interrupted request has written.
    """

    items: Sequence[EditItem]
    variants: int = 1
    first: int = 0
    batch_size: int = 64
    overwrite: bool = False
    resume: bool = False

    def number(self, place: int) -> int:
        """Number of the first result of an image."""
        return self.first + place * self.variants

    def batches(self, pixels: Sequence[int]) -> list[range]:
        """Places of the images of each batch.

        Args:
            pixels: How many each of them has.
        """
        starts, together, most = [0], 0, max(1, self.batch_size // self.variants)
        for place, count in enumerate(pixels):
            if place - starts[-1] == most or (place > starts[-1] and together + count > MOST_PIXELS):
                starts.append(place)
                together = 0
            together += count
        return [range(*ends) for ends in pairwise([*starts, len(pixels)])]


def edit_files(request: FolderRequest, read: Read, metadata: Facts, draw: Draw) -> list[str]:
    """Draw and write what is missing. The results of all processes exist when it returns, on each process.

    Returns:
        Notes on all images that were drawn, in their order, each once.

    Raises:
        ConfigError: an image or mask that cannot be used, or with ``resume`` results of another request;
            nothing is drawn then.
    """
    if request.processes > 1:
        meet()  # before any process is done: others may draw for hours
    pixels, there = surveyed(request, read, metadata)
    missing = [part for part in request.batches(pixels) if not there.issuperset(part)]
    notes: dict[int, list[str]] = {}
    for part in request.own(missing):
        given = [read(request.items[place]) for place in part]
        drawn = draw(given, request.number(part.start))
        for place, one, results in zip(part, given, drawn, strict=True):
            if place not in there:
                record = metadata(one, request.number(place))
                record |= {"pictures_together": len(part)} if len(part) > 1 else {}
                notes[place] = [*one.source.notes, *written(request, place, one, results, record)]
    every = {place: lines for found in gathered(notes) for place, lines in found.items()}
    return list(dict.fromkeys(line for _, lines in sorted(every.items()) for line in lines))


def surveyed(request: FolderRequest, read: Read, metadata: Facts) -> tuple[list[int], set[int]]:
    """Number of pixels of each image, and the indices of those with results; the same on each process.

    Raises:
        ConfigError: the first error of all images, see :func:`edit_files`.
    """
    pixels: dict[int, int] = {}
    there: list[int] = []
    faults: dict[int, ConfigError] = {}
    for place in request.own(range(len(request.items))):
        try:
            one = read_named(read, request.items[place])
            pixels[place] = one.image.width * one.image.height
            if request.resume and is_there(request, place, metadata(one, request.number(place))):
                there.append(place)
        except ConfigError as error:
            faults[place] = error
            break
    parts = gathered((pixels, there, faults))
    found = {place: error for *_, part in parts for place, error in part.items()}
    if found:
        raise found[min(found)]
    counts = {place: count for part, *_ in parts for place, count in part.items()}
    return [counts[place] for place in range(len(request.items))], {p for _, part, _ in parts for p in part}


def read_named(read: Read, item: EditItem) -> Given:
    """Read an image. Raises ConfigError with its name in it."""
    try:
        return read(item)
    except ConfigError as error:
        if item.image.name in f"{error.value} {error.hint}":
            raise
        raise ConfigError(error.name, error.value, f"{error.hint} (image {item.image.name})") from error


def is_there(request: FolderRequest, place: int, record: dict[str, Any]) -> bool:
    """Whether all results of an image exist.

    Raises:
        ConfigError: an existing one cannot be read, or was made by another request.
    """
    files = request.items[place].results(request.variants)
    unsaid = {name: value for name, value in UNSAID.items() if name not in record}
    asked = compared(record | unsaid | {"variants": request.variants})
    lying = [path for path in files if os.path.lexists(path)]
    for path in lying:
        number = {"variant": request.number(place) + files.index(path) - 1} if path != files[0] else {}
        check_made(path, asked | number, UNSAID)
    return len(lying) == len(files)


def written(
    request: FolderRequest,
    place: int,
    one: Given,
    results: Sequence[Image.Image],
    record: dict[str, Any],
) -> list[str]:
    """Write the results of an image. Returns a line if a PNG does not keep every pixel of it."""
    record |= {"variants": request.variants} if request.variants > 1 else {}
    # results that an interruption left are the same, and are replaced
    replace = request.overwrite or request.resume
    out, shown = request.items[place].out, (one.image, one.hidden)
    _, note = write_results(results, out, one.source, record, shown, request.number(place), replace)
    return [note] if note else []


def paint(
    pipe: Tiling,
    given: Sequence[Given],
    label: int | None,
    first: int,
    window: Window = "auto",
    continued: bool = False,
    seam: dict[str, Any] | None = None,
    **how: Any,
) -> list[list[Image.Image]]:
    """Results of each image, with the window that the image has by itself.

    Args:
        first: Number of the first result.
        window, how: As in :meth:`~d3pm_image.edits.Edits.inpaint`, ``variants`` among them.
        continued: Whether images are continued beyond their borders, for which ``auto`` is another window.
        seam: ``axis`` and ``width`` of :meth:`~d3pm_image.tiling.Tiling.tile`, where images are made
            seamless.
    """
    canvases = [(one.image.height, one.image.width) for one in given]
    windows = [outpaint_window(window, [c], pipe.image_size) if continued else window for c in canvases]
    feathers = [how.pop("feather", 0)] * len(given)
    if seam is not None:
        feathers = [faded(canvas, feather=pipe.feather_of(feathers[0]), **seam) for canvas in canvases]
    kinds = list(zip(windows, feathers, strict=True))
    results: list[list[Image.Image]] = []
    for (kind, feather), group in groupby(range(len(given)), kinds.__getitem__):
        how["window"], how["feather"] = kind, feather
        part = [given[place] for place in group]
        number = first + len(results) * how.get("variants", 1)
        images, hidden = [one.image for one in part], [one.hidden for one in part]
        if seam is None:
            results += pipe.inpaint(images, hidden, label, first=number, **how)
        else:
            results += pipe.tile(images, label, first=number, **seam, **how)
    return results
