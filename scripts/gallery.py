"""The images of docs/editing.md: every kind of editing, on held-out images of the model's own data set.

    python scripts/gallery.py fashion_mnist runs/fashion_mnist/diffusion --classes Dress,Coat,Shirt,Bag
    python scripts/gallery.py flowers runs/flowers/diffusion --root photos/val --beyond 0.5

Writes docs/editing/NAME-inpaint.png, -outpaint, -edit (models with classes), -vary and -interpolate. Images
are taken at even distances from the held-out ones, and results are not cherry-picked: they are what the seed
gives."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from d3pm_image import Box, Pipeline, Polygon
from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.editing.masks import as_mask
from d3pm_image.editing.outpaint import extend
from d3pm_image.editing.results import blanked
from d3pm_image.imaging import enlarge, grid_image, plain, save_image, to_pil
from d3pm_image.pixel_range import from_levels

TILE = 96
"""Pixels of a tile's longer side, at least."""
MOST_BYTES = 300_000


@dataclass(frozen=True)
class HeldOut:
    """Held-out images with the names of their classes (empty for none), and how results are generated."""

    pipe: Pipeline
    images: list[Image.Image]
    labels: list[str]
    settings: dict[str, Any]

    def label(self, i: int) -> str | None:
        return self.labels[i] or None


def held_out_images(pipe: Pipeline, root: str, count: int, settings: dict[str, Any]) -> HeldOut:
    """``count`` held-out images at the model's size, each of another class as long as there are enough."""
    data = DataConfig(**pipe.metadata["data"])
    data = dataclasses.replace(data, root=root or data.root)
    held_out = ImageSet(open_source(data, held_out=True), data)
    spread = np.linspace(0, len(held_out) - 1, min(len(held_out), 40 * count)).astype(int).tolist()
    batch = held_out.__getitems__(spread)
    labels = batch["labels"].tolist()
    classes = sorted(set(labels))
    turn = [[i for i, label in enumerate(labels) if label == wanted] for wanted in classes]
    chosen = [turn[n % len(turn)][n // len(turn) * 3] for n in range(count)]
    names = [pipe.class_names[labels[i]] if pipe.class_names else "" for i in chosen]
    return HeldOut(pipe, to_pil(from_levels(batch["images"][chosen])), names, settings)


def stroke(width: int, height: int, turn: float) -> np.ndarray:
    """A free-form mask: a wave as a brush leaves it, bool (h, w)."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    return (np.abs(y - 0.5 - 0.3 * np.sin(2 * np.pi * (x + turn))) < 0.16) & (x > 0.06) & (x < 0.94)


def regions(image: Image.Image) -> list[np.ndarray]:
    """Two strokes, a box and a polygon."""
    w, h = image.size
    box = Box(w // 4, h // 4, w // 2, h // 2)
    triangle = Polygon(((w // 2, h // 10), (w - w // 10, h - h // 6), (w // 10, h - h // 6)))
    return [stroke(w, h, 0), as_mask(box, image), stroke(w, h, 0.4), as_mask(triangle, image)]


def inpaint(held: HeldOut) -> tuple[list[Image.Image], list[str]]:
    """Rows of original, hidden, five results."""
    rows, captions = [], []
    for i, hidden in zip(range(0, 8, 2), regions(held.images[0]), strict=True):
        image = held.images[i]
        results = held.pipe.inpaint(image, hidden, held.label(i), variants=5, **held.settings)
        rows += [image, blanked(plain(image, 3), hidden), *results]
        captions += ["original", "hidden", *[f"result {n}" for n in range(1, 6)]]
    return rows, captions


def outpaint(held: HeldOut, beyond: float) -> tuple[list[Image.Image], list[str]]:
    """Rows of what is given, the canvas, four results: the middle of an image continued to its own size; with
    ``beyond`` whole images continued to both sides by that fraction of their width."""
    rows, captions = [], []
    for i in (1, 2, 5):
        image = held.images[i]
        w, h = image.size
        middle = image.crop((w // 4, 0, w - w // 4, h))
        given, side = (image, round(beyond * w)) if beyond else (middle, w // 4)
        canvas, hidden = extend(given, side, 0, side, 0)
        settings = {"labels": held.label(i), "variants": 4, **held.settings}
        results = held.pipe.outpaint(given, left=side, right=side, **settings)
        first = [] if beyond else [image]
        rows += [*first, blanked(plain(canvas, 3), hidden), *results]
        captions += [*["original"][: len(first)], "given", *[f"result {n}" for n in range(1, 5)]]
    return rows, captions


def edit(held: HeldOut, classes: list[str]) -> tuple[list[Image.Image], list[str]]:
    """Rows of original, hidden, and the hidden part as each of some classes."""
    rows, captions = [], []
    for i in (0, 3, 4):
        image = held.images[i]
        w, h = image.size
        hidden = as_mask(Box(0, int(0.4 * h), w, h - int(0.4 * h)), image)
        results = [held.pipe.edit(image, hidden, name, **held.settings)[0] for name in classes]
        rows += [image, blanked(plain(image, 3), hidden), *results]
        captions += [held.labels[i], "hidden", *[f"as {name}" for name in classes]]
    return rows, captions


def vary(held: HeldOut) -> tuple[list[Image.Image], list[str]]:
    """Two rows per image: it, and results at rising strength."""
    strengths = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    rows, captions = [], []
    for i in (1, 7):
        image = held.images[i]
        columns = [held.pipe.vary(image, t, held.label(i), variants=2, **held.settings) for t in strengths]
        for n in range(2):
            rows += [image, *(results[n] for results in columns)]
            captions += ["original", *[f"strength {t:g}" for t in strengths]]
    return rows, captions


def interpolate(held: HeldOut) -> tuple[list[Image.Image], list[str]]:
    """Rows of a, seven frames, b: two pairs, at two strengths each."""
    rows, captions = [], []
    for i, j in ((0, 3), (5, 7)):
        a, b, labels = held.images[i], held.images[j], [held.label(i), held.label(j)]
        for strength in (0.0, 0.5):
            frames = held.pipe.interpolate(a, b, 7, strength, labels, **held.settings)
            rows += [a, *frames, b]
            captions += ["a", *[f"{n}/7, t = {strength:g}" for n in range(1, 8)], "b"]
    return rows, captions


def write(path: Path, tiles: Sequence[Image.Image], captions: list[str], columns: int) -> None:
    """A labelled sheet, with 256 colours where more make a large file.

    Raises:
        SystemExit: it is too large all the same.
    """
    shown = [enlarge(plain(tile, 3), TILE) for tile in tiles]
    wide, high = (max(getattr(tile, side) for tile in shown) for side in ("width", "height"))
    framed = []
    for tile in shown:
        frame = Image.new("RGB", (wide, high), "white")
        frame.paste(tile, ((wide - tile.width) // 2, (high - tile.height) // 2))
        framed.append(frame)
    sheet = grid_image(framed, columns, captions, gap=4)
    for image in (sheet, sheet.quantize(256, dither=Image.Dither.NONE)):
        save_image(image, path)
        if path.stat().st_size <= MOST_BYTES:
            print(f"{path}: {sheet.width}x{sheet.height}, {path.stat().st_size // 1000} kB")
            return
    raise SystemExit(f"{path} is larger than {MOST_BYTES // 1000} kB")


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("name", help="first part of the files' names")
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, default=Path("docs/editing"))
    parser.add_argument("--root", default="", help="folder of the data set; default the model's own")
    beyond = "continue whole images by this times their width on both sides"
    parser.add_argument("--beyond", type=float, default=0.0, help=beyond)
    parser.add_argument("--classes", default="", help="classes to edit to; default the first five")
    parser.add_argument("--only", choices=["inpaint", "outpaint", "edit", "vary", "interpolate"])
    parser.add_argument("--sampler")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pipe = Pipeline.from_pretrained(args.model, args.device, args.precision)
    settings = {name: getattr(args, name) for name in ("sampler", "steps", "guidance", "seed")}
    held = held_out_images(pipe, args.root, 8, settings)
    classes = args.classes.split(",") if args.classes else list(pipe.class_names[:5])
    sheets = {
        "inpaint": (lambda: inpaint(held), 7),
        "outpaint": (lambda: outpaint(held, args.beyond), 5 if args.beyond else 6),
        "edit": (lambda: edit(held, classes), 2 + len(classes)),
        "vary": (lambda: vary(held), 7),
        "interpolate": (lambda: interpolate(held), 9),
    }
    for kind, (make, columns) in sheets.items():
        if args.only in (None, kind) and (kind != "edit" or pipe.class_names):
            write(args.out / f"{args.name}-{kind}.png", *make(), columns)


if __name__ == "__main__":
    main()
