"""Requests of the page to a pipeline: one at a time, with live previews, and results as files that record how
they were made."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError, check
from ..config.data import Tile
from ..config.editing import GREY_MODEL, Axis, check_added
from ..config.ranges import check_seed
from ..editing.image_files.files import ImageFile, open_image_file
from ..editing.outpaint import check_sides
from ..editing.results import coloured
from ..editing.rolling import repeated
from ..editing.seamless import FEATHER
from ..imaging import enlarge, for_viewing, grid_image
from ..labels import label_text
from ..pipeline import Pipeline
from ..printable import printable
from ..provenance import image_record, made_by, mask_text
from ..sampling.request import Callback, SamplerStep
from ..storage import safe_name
from ..visualization.code_images import code_tiles, decoded_tiles
from .files import Shelf
from .streaming import watched

MOST_IMAGES, MOST_SHOWN = 64, 16
MOST_PIXELS = 1 << 28
"""Of all results of an edit together: 0.8 GB of colour."""
BATCH = 64
"""Images in one network call of an edit."""
MOST_REPEATED = 4
"""Results that are also shown repeated."""
SCREEN = 384
"""Display pixels that small images are enlarged towards."""


@dataclass(frozen=True)
class PageRequest:
    """Settings of a request.

    Args:
        label: "" for every class in turn (edits: none), "none", or a class number as text.
        changes: Sampler settings that differ from the model's.
    """

    label: str = ""
    count: int = 1
    seed: int = 0
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check(1 <= self.count <= MOST_IMAGES, "images", self.count, f"ask for 1 to {MOST_IMAGES} at once")
        check_seed(self.seed)

    @property
    def one_label(self) -> int | None:
        """The class of an edit; None for none."""
        return int(self.label) if self.label.isascii() and self.label.isdigit() else None


@dataclass(frozen=True)
class Progress:
    """A step of a decode: its image so far."""

    step: int
    steps: int
    image: Image.Image


@dataclass(frozen=True)
class Finished:
    """Results as files with what each shows in words, what the download button gives, and notes for the user;
    the last ``views`` of the files are results shown again."""

    paths: list[Path]
    captions: list[str]
    download: Path | None
    notes: list[str]
    views: int = 0


class PageModel:
    """A pipeline that several users share.

    Args:
        pipe: The model.
        model: Its name as the user gave it, for the settings in the images.
        folder: Where results lie while they are looked at.
    """

    def __init__(self, pipe: Pipeline, model: str, folder: str | Path):
        self.pipe, self.model, self.shelf = pipe, model, Shelf(folder)
        self.lock = threading.Lock()
        self.made_by = made_by(model, pipe.tokenizer, pipe.denoiser)

    def metadata(self, command: str, drawing: PageRequest, **own: Any) -> dict[str, Any]:
        """Metadata of the results, as the command of that name writes it."""
        settings = self.pipe.request(**drawing.changes).values()
        run = {"seed": drawing.seed, "precision": self.pipe.precision}
        return {"command": command, **run, **own, **settings, **self.made_by}

    def generate(self, drawing: PageRequest, stop: threading.Event) -> Iterator[Progress | Finished]:
        """New images. Raises ConfigError for impossible settings, Stopped."""
        labels = None if drawing.label == "" else [drawing.one_label]
        metadata = self.metadata(
            "generate",
            drawing,
            labels=drawing.label and self.labels_text(drawing),
            batch_first=0,
            batch_size=drawing.count,
        )
        ids = self.pipe.label_ids(labels, drawing.count)
        names = [*self.pipe.class_names, "no class"]
        own = [{**metadata, "number": number, "label": names[ids[number]]} for number in range(drawing.count)]

        def work(callback: Callback) -> list[Image.Image]:
            return self.pipe.generate(
                drawing.count,
                labels,
                seed=drawing.seed,
                callback=callback,
                batch_size=drawing.count,
                **drawing.changes,
            )

        captions = [one["label"] if self.pipe.class_names else f"image {one['number'] + 1}" for one in own]
        yield from self.draw(
            work, own, captions, f"generated-seed{drawing.seed}", None, stop, self.pipe.repeats
        )

    def note(self, image: Image.Image) -> str:
        """Size and mode of an uploaded image, and a note on limits of this model."""
        said = f"{image.width}×{image.height} pixels, mode {image.mode}."
        grey = self.pipe.tokenizer.channels < 3 and coloured(image)
        return f"{said} Note: {GREY_MODEL}." if grey else said

    def labels_text(self, drawing: PageRequest) -> str:
        """The class as a command takes it: by name, since a number may be the name of another class."""
        classes = len(self.pipe.class_names)
        return label_text(
            classes if drawing.one_label is None else self.pipe.label_ids(drawing.one_label, 1)[0],
            self.pipe.class_names,
        )

    def inpaint(
        self,
        source: ImageFile,
        mask: np.ndarray,
        feather: int,
        drawing: PageRequest,
        stop: threading.Event,
        name: str = "",
    ) -> Iterator[Progress | Finished]:
        """An image with its masked part repainted; every pixel outside the mask (and a feather) stays."""
        own = {
            "labels": self.labels_text(drawing),
            "feather": feather,
            "window": "auto",
            "mask": mask_text(mask),
        }

        def work(callback: Callback) -> list[Image.Image]:
            return self.pipe.inpaint(
                source.image, mask, drawing.one_label, feather=feather, **how(drawing, callback)
            )

        yield from self.edit("inpaint", source, drawing, own, work, stop, name)

    def outpaint(
        self,
        source: ImageFile,
        sides: dict[str, int],
        drawing: PageRequest,
        stop: threading.Event,
        name: str = "",
    ) -> Iterator[Progress | Finished]:
        """An image continued by the given pixels on each side (left, top, right, bottom)."""
        check_added(sides)
        check_sides(source.image.size, sides)
        added = sides["left"] + sides["right"], sides["top"] + sides["bottom"]
        check_amount(drawing.count, source.image.width + added[0], source.image.height + added[1])

        def work(callback: Callback) -> list[Image.Image]:
            given: dict[str, Any] = {**sides, "labels": drawing.one_label, **how(drawing, callback)}
            return self.pipe.outpaint(source.image, **given)

        yield from self.edit(
            "outpaint", source, drawing, {"labels": self.labels_text(drawing), **sides}, work, stop, name
        )

    def vary(
        self, source: ImageFile, strength: float, drawing: PageRequest, stop: threading.Event, name: str = ""
    ) -> Iterator[Progress | Finished]:
        """Variations of an image; strength is the noise level that they begin at."""

        def work(callback: Callback) -> list[Image.Image]:
            return self.pipe.vary(source.image, strength, drawing.one_label, **how(drawing, callback))

        yield from self.edit(
            "vary",
            source,
            drawing,
            {"labels": self.labels_text(drawing), "strength": strength},
            work,
            stop,
            name,
        )

    def tile(
        self,
        source: ImageFile,
        axis: Axis,
        width: int,
        drawing: PageRequest,
        stop: threading.Event,
        name: str = "",
    ) -> Iterator[Progress | Finished]:
        """An image made seamless; each result is followed by a view of it that repeats."""
        given: dict[str, Any] = {"axis": axis, "width": width, "feather": FEATHER}

        def work(callback: Callback) -> list[Image.Image]:
            return self.pipe.tile(source.image, drawing.one_label, **given, **how(drawing, callback))

        own = {"labels": self.labels_text(drawing), "window": "auto", **given}
        yield from self.edit("tile", source, drawing, own, work, stop, name, axis)

    def edit(
        self,
        command: str,
        source: ImageFile,
        drawing: PageRequest,
        own: dict,
        work: Callable,
        stop: threading.Event,
        name: str,
        repeats: Tile = "none",
    ) -> Iterator[Progress | Finished]:
        """Draw the variants of an edit and keep them as files, with previews of each step; ``repeats`` as in
        :meth:`draw`."""
        check_amount(drawing.count, *source.image.size)
        metadata = self.metadata(command, drawing, **own) | image_record(source.path, name=name)
        together = {"first": 0, "variants": drawing.count, "batch_size": BATCH}
        each = [
            metadata | ({"variant": number, **together} if drawing.count > 1 else {})
            for number in range(drawing.count)
        ]
        stem = safe_name(Path(name or source.path.name).stem)
        drawn = "" if drawing.one_label is None else f"{own['labels']}, "
        captions = [f"{drawn}result {number}" for number in range(1, drawing.count + 1)]
        yield from self.draw(work, each, captions, f"{stem}-{command}", source, stop, repeats)

    def draw(
        self,
        work: Callable[[Callback], list],
        metadata: list[dict],
        captions: list[str],
        stem: str,
        source: ImageFile | None,
        stop: threading.Event,
        repeats: Tile = "none",
    ) -> Iterator[Progress | Finished]:
        """Run, show each step, write. Where results repeat along axes ``repeats``, the first of them are also
        shown three times beside and below themselves; these views are not in the download."""
        images: list[Image.Image] = []
        for seen in watched(work, stop, self.lock):
            if isinstance(seen, SamplerStep):
                yield Progress(seen.step, seen.steps, self.preview(seen))
            else:
                images = seen
        paths, notes = self.shelf.put(images, metadata, stem, source)
        captions = [printable(text) for text in captions]
        again = images[:MOST_REPEATED] if repeats != "none" else []
        views = self.shelf.views([repeated(image, repeats) for image in again])
        said = [*captions, *(f"{text}, repeated" for text in captions[: len(views)])]
        yield Finished([*paths, *views], said, self.shelf.bundle(paths), notes, len(views))

    def preview(self, frame: SamplerStep) -> Image.Image:
        """The first images of a decode so far; cells that are still masked are grey."""
        tiles = decoded_tiles(
            frame.x_t[:MOST_SHOWN].cpu(),
            frame.masked[:MOST_SHOWN].cpu(),
            self.pipe.grid,
            self.pipe.tokenizer_decode,
        )
        return enlarge(grid_image(tiles, min(5, len(tiles)) if len(tiles) > 4 else 0, gap=4), SCREEN)

    def tokens(self, source: ImageFile) -> tuple[list[Image.Image], str]:
        """An image as the tokenizer sees it: at the model's size, its codes as colours, its reconstruction;
        and a line with measures."""
        with self.lock:
            pixels = self.pipe.tensors([source.image])
            codes = self.pipe.tokenizer.encode(pixels).cpu()
            back = self.pipe.tokenizer_decode(codes)
        from ..imaging import to_pil

        original, result = (for_viewing(to_pil(x)[0], SCREEN) for x in (pixels, back))
        masked = codes.flatten(1) < 0
        height, width = self.pipe.grid
        side = max(1, SCREEN // max(height, width))
        coloured = code_tiles(codes.flatten(1), masked, self.pipe.grid, (width * side, height * side))[0]
        error = float((pixels.cpu() - back).square().mean())
        words = (
            f"{height}×{width} codes, {len(codes.unique())} different of {self.pipe.tokenizer.num_codes};"
            f" mean squared error {error:.4f}"
        )
        return [original, coloured, result], words


def check_amount(count: int, width: int, height: int) -> None:
    """Raises ConfigError for results that are together too large for a shared machine."""
    fits = count * width * height <= MOST_PIXELS
    hint = f"of {width}x{height} pixels are too many at once; ask for fewer, or use the command line"
    check(fits, "images", count, hint)


def how(drawing: PageRequest, callback: Callback) -> dict[str, Any]:
    """Arguments that every edit takes."""
    return {
        "variants": drawing.count,
        "seed": drawing.seed,
        "callback": callback,
        "batch_size": BATCH,
        **drawing.changes,
    }


def open_upload(path: str | None) -> ImageFile:
    """The uploaded image.

    Raises:
        ConfigError: none, or not readable; messages do not contain its path.
    """
    check(bool(path), "", "", "choose an image first")
    try:
        return open_image_file(str(path))
    except ConfigError as error:
        name = Path(str(path)).name
        raise ConfigError("image", name, error.hint.replace(str(path), name)) from error
