"""The pictures of the README, made from a trained model and held-out images of its data set.

    python scripts/pictures.py runs/fashion_mnist/diffusion docs fashion_mnist [--steps 16 --guidance 1.5]

Writes <name>_grid.png (64 samples, classes in turn), <name>_inpainting.png (original, masked, four results per row, with
lower half, left half, centre and free-form masks) and <name>_reconstruction.png.
"""

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


def masks(height: int, width: int) -> list[np.ndarray]:
    """Lower half, left half, centre, and a free-form stroke, each bool (h, w)."""
    y, x = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    stroke = np.abs(y - 0.5 - 0.3 * np.sin(2 * np.pi * x)) < 0.16
    return [y >= 0.5, x < 0.5, (np.abs(x - 0.5) < 0.25) & (np.abs(y - 0.5) < 0.25), stroke]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--root", default="", help="folder of the data set, where it is not the one that the model remembers")
    parser.add_argument("--sampler")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    pipe = Pipeline.from_pretrained(args.model)
    settings = {"sampler": args.sampler, "steps": args.steps, "guidance": args.guidance}
    save_image(grid_image([enlarge(i) for i in pipe.generate(64, seed=args.seed, **settings)], 8), args.folder / f"{args.name}_grid.png")

    data = DataConfig(**pipe.facts["data"])
    data = dataclasses.replace(data, root=args.root or data.root)
    held_out = ImageSet(open_source(data, held_out=True), data)
    shapes = masks(*pipe.image_size)
    chosen = torch.linspace(0, len(held_out) - 1, 2 * len(shapes)).long().tolist()
    batch = held_out.__getitems__(chosen)
    pictures = to_pil(batch["images"].float() / 255)
    hidden = [shapes[i % len(shapes)] for i in range(len(pictures))]
    results = pipe.inpaint(pictures, hidden, batch["labels"].tolist() if pipe.class_names else None, variants=4, seed=args.seed, **settings)
    rows: list[Image.Image] = []
    for picture, mask, variants in zip(pictures, hidden, results, strict=True):
        rows += [enlarge(p.convert("RGB")) for p in (picture, blanked(picture.convert("RGB"), mask), *variants)]
    captions = ["original", "masked", *["result"] * 4] * len(pictures)
    half = len(rows) // 2
    paired = [image for a, b in zip(chunks(rows[:half], 6), chunks(rows[half:], 6), strict=True) for image in (*a, *b)]
    save_image(grid_image(paired, 12, captions[: len(paired)]), args.folder / f"{args.name}_inpainting.png")
    outputs = pipe.reconstruct(pictures)
    save_image(grid_image([enlarge(i) for i in (*pictures, *outputs)], len(pictures)), args.folder / f"{args.name}_reconstruction.png")


def chunks(items: list, size: int) -> list[list]:
    return [items[i : i + size] for i in range(0, len(items), size)]


if __name__ == "__main__":
    main()
