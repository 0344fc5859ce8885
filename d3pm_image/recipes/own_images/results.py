"""Results that show a trained model: new images, an inpainting of held-out images, and the training images
that are nearest to the new ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...config import DataConfig
from ...data.images import ImageSet
from ...data.sources import open_source
from ...data.spread import spread_over
from ...editing.masks import Box
from ...editing.results import variants_sheet
from ...imaging import Images, grid_image, save_image, to_pil, to_tensor
from ...metrics.neighbours import nearest, over_batches, unusually_near
from ...pixel_range import from_levels, on_white, to_levels
from ...provenance import made_by
from ...provenance.writing import write_grid

if TYPE_CHECKING:
    from ...data.objects import GivenImages
    from ...pipeline import Pipeline

SHOWN = 40
"""New images of the grid, about: whole rows of all classes."""
EDITED, VARIANTS = 2, 4
COMPARED, UNSEEN = 20_000, 200
"""Training images at most that new ones are compared with, and held-out images beside them."""
SIDE = 32
"""Pixels per side at which images are compared."""
PAIRS = 8


@dataclass(frozen=True)
class Pair:
    """A new image and the training image nearest to it.

    Args:
        sample, training: The images.
        name: The training image's.
        distance: Root of the mean squared difference of their levels, 0 to 255.
        near: Whether it is nearer than held-out images are.
    """

    sample: Image.Image
    training: Image.Image
    name: str
    distance: float
    near: bool


@dataclass(frozen=True)
class Results:
    """Results of a training.

    Args:
        grid, inpainting: Files.
        pairs: The new images that come nearest to a training image, nearest first.
        near, drawn, compared: How many new images are near-copies, of how many, beside how many training
            images.
        limit: Distance below which an image counts as a near-copy: what one in a hundred held-out images has.
    """

    grid: Path
    inpainting: Path
    pairs: tuple[Pair, ...]
    near: int
    drawn: int
    compared: int
    limit: float


def draw_results(pipe: Pipeline, out: Path, given: GivenImages | None, seed: int) -> Results:
    """Draw, and write ``grid.png`` and ``inpainting.png`` into the run's folder."""
    known = pipe.metadata["data"]
    data = DataConfig(**{**known, "image_size": tuple(known["image_size"])})
    training = ImageSet(thinned(data, given), data)
    held_out = ImageSet(open_source(data, True, given), data)
    names = pipe.class_names
    count = SHOWN // len(names) * len(names) if 1 < len(names) <= SHOWN else SHOWN
    images = pipe.generate(count, seed=seed)
    ids = pipe.label_ids(None, count)
    columns = 10 // len(names) * len(names) if 1 < len(names) <= 10 else 10
    metadata = {
        "command": "generate",
        **made_by(out, pipe.tokenizer, pipe.denoiser),
        "seed": seed,
        "labels": "",
    }
    metadata |= {"precision": pipe.precision, **pipe.request().values(), "num_images": count, "first": 0}
    metadata |= {"columns": columns, "captions": True, "batch_size": 64}
    write_grid(out / "grid.png", images, ids, names, columns, metadata, overwrite=True)
    edited = inpaint(pipe, held_out, seed)
    save_image(grid_image(edited, columns=1), out / "inpainting.png")
    return compare(pipe, images, training, held_out, out, data.flip)


def thinned(data: DataConfig, given: GivenImages | None) -> Any:
    """The images that trained, or as many of them as are compared."""
    source = open_source(data, False, given)
    return source if len(source) <= COMPARED else source.subset(spread_over(len(source), COMPARED))


def inpaint(pipe: Pipeline, held_out: ImageSet, seed: int) -> list[Image.Image]:
    """A sheet for each of some held-out images: as it is, with its middle hidden, and results under its own
    class."""
    height, width = pipe.image_size
    box = Box(width // 4, height // 4, width // 2, height // 2)
    hidden = box.mask((width, height))
    sheets = []
    for number in spread_over(len(held_out), EDITED + 2)[1 : EDITED + 1].tolist():
        batch = held_out.__getitems__([number])
        image, label = to_pil(from_levels(batch["images"]))[0], int(batch["labels"][0])
        results = pipe.inpaint(image, box, labels=label if label >= 0 else None, variants=VARIANTS, seed=seed)
        sheets.append(variants_sheet(image, hidden, results))
    return sheets


def features(images: Tensor) -> Tensor:
    """uint8 images (b, C, h, w) → (b, F): levels of a small version, scaled so that a Euclidean distance is
    the root of the mean squared difference of levels."""
    small = F.interpolate(on_white(images).float(), (SIDE, SIDE), mode="area").flatten(1)
    return small / small.shape[1] ** 0.5


def compare(
    pipe: Pipeline, images: Images, training: ImageSet, held_out: ImageSet, out: Path, flip: bool
) -> Results:
    """The nearest training image of every new one, including mirror images if the model learnt these,
    compared with held-out images. Reconstructions of held-out images are used, because the tokenizer smooths,
    and smooth images are nearer to all others."""

    def read(numbers: list[int]) -> Tensor:
        return training.__getitems__(numbers)["images"]

    def mirrored(numbers: list[int]) -> Tensor:
        return read(numbers).flip(-1)

    def every() -> Iterator[Tensor]:
        ways = (read, mirrored) if flip else (read,)
        return itertools.chain.from_iterable(over_batches(way, len(training), features) for way in ways)

    unseen = pipe.reconstruct(to_pil(held_out.read(spread_over(len(held_out), UNSEEN).tolist())))
    both = Images([*images, *unseen])
    found = nearest(features(to_levels(torch.stack([to_tensor(image) for image in both]))), every())
    distances, others = found.distance.split([len(images), len(unseen)])
    limit = unusually_near(others)
    pairs = []
    for place in distances.argsort()[:PAIRS].tolist():
        number, distance = int(found.number[place]), float(distances[place])
        index = number % len(training)
        shown = (mirrored if number >= len(training) else read)([index])
        name = training.source.names[index]
        pairs.append(Pair(images[place], to_pil(from_levels(shown))[0], name, distance, distance < limit))
    near = int((distances < limit).sum())
    files = out / "grid.png", out / "inpainting.png"
    return Results(*files, tuple(pairs), near, len(images), len(training), limit)
