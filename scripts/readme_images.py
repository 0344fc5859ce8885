"""The images of the README, made from a trained model and held-out images of its data set.

    python scripts/readme_images.py runs/fashion_mnist/diffusion docs fashion_mnist [--guidance 1.5]

Writes <name>_grid.png (64 samples, classes in turn), <name>_inpainting.png (original, masked, four results
per row, with lower half, left half, centre and free-form masks) and <name>_reconstruction.png."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.editing.results import blanked
from d3pm_image.imaging import enlarge, grid_image, save_image, to_pil
from d3pm_image.pixel_range import from_levels


def masks(height: int, width: int) -> list[np.ndarray]:
    """Lower half, left half, centre, and a free-form stroke, each bool (h, w)."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    stroke = np.abs(y - 0.5 - 0.3 * np.sin(2 * np.pi * x)) < 0.16
    return [y >= 0.5, x < 0.5, (np.abs(x - 0.5) < 0.25) & (np.abs(y - 0.5) < 0.25), stroke]


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--root", default="", help="folder of the data set; default the model's own")
    parser.add_argument("--sampler")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pipe = Pipeline.from_pretrained(args.model)
    settings = {name: getattr(args, name) for name in ("sampler", "steps", "guidance", "seed")}
    samples = [enlarge(image) for image in pipe.generate(64, **settings)]
    save_image(grid_image(samples, 8), args.folder / f"{args.name}_grid.png")

    data = DataConfig(**pipe.metadata["data"])
    data = dataclasses.replace(data, root=args.root or data.root)
    held_out = ImageSet(open_source(data, held_out=True), data)
    shapes = masks(*pipe.image_size)
    chosen = torch.linspace(0, len(held_out) - 1, 2 * len(shapes)).long().tolist()
    batch = held_out.__getitems__(chosen)
    images, hidden = to_pil(from_levels(batch["images"])), shapes * 2
    labels = batch["labels"].tolist() if pipe.class_names else None
    results = pipe.inpaint(images, hidden, labels, variants=4, **settings)
    rows: list[Image.Image] = []
    for image, mask, variants in zip(images, hidden, results, strict=True):
        rows += [enlarge(i.convert("RGB")) for i in (image, blanked(image.convert("RGB"), mask), *variants)]
    captions = ["original", "masked", *["result"] * 4] * len(images)
    half = len(rows) // 2
    pairs = zip(chunks(rows[:half], 6), chunks(rows[half:], 6), strict=True)
    paired = [image for a, b in pairs for image in (*a, *b)]
    save_image(grid_image(paired, 12, captions[: len(paired)]), args.folder / f"{args.name}_inpainting.png")
    both = [enlarge(image) for image in (*images, *pipe.reconstruct(images))]
    save_image(grid_image(both, len(images)), args.folder / f"{args.name}_reconstruction.png")


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


if __name__ == "__main__":
    main()
