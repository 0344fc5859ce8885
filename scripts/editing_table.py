"""Half of each test image hidden and completed: does it still show its class, and does the seam show?

    python scripts/editing_table.py runs/fashion_mnist/diffusion docs/results/editing_fashion_mnist.json

Image i of the test set loses its left, right, top or bottom half in turn and is completed without a label.
The file holds, over all images and by side, the accuracy of a classifier trained on the real training images,
and the seam: the mean jump across the border of the hidden half over that of the real image
(d3pm_image/metrics/seam.py), for the rows below. ``d3pm-image evaluate --inpaint half`` measures any model's
completions; this script compares ways of completing.

    original         the real image
    filled           the hidden half as the tokenizer sees it: a smooth continuation of the known one
    black            the hidden half black
    reconstruction   the hidden half as the tokenizer gives the real one back: the best a denoiser can reach
    completed        the hidden half repainted; the same with a feathered seam, put through the tokenizer once
                     more, and with rings of code cells around it that are repainted as well
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from d3pm_image import Pipeline
from d3pm_image.cache_folder import cache_root
from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.editing.hidden import SIDES, half
from d3pm_image.editing.receptive import RING
from d3pm_image.evaluation.inpainting import levels_of
from d3pm_image.evaluation.samples import everything
from d3pm_image.imaging import fill_hidden, to_pil
from d3pm_image.metrics.classifier import Classifier, train_classifier
from d3pm_image.metrics.repaints import Repaints
from d3pm_image.pixel_range import from_levels, to_levels


def measure(images: Tensor, originals: Tensor, masks: Tensor, labels: Tensor, classifier: Classifier) -> dict:
    """Accuracy and seam of uint8 images (B, C, h, w)."""
    right = (classifier.predict(images) == labels).double()
    repaints = Repaints()
    repaints.add(images, originals, masks)
    seam = repaints.figures()
    by_side = {side: right[i :: len(SIDES)].mean() for i, side in enumerate(SIDES)}
    return {
        "accuracy": round(float(right.mean()), 4),
        "accuracy_by_side": {side: round(float(value), 4) for side, value in by_side.items()},
        **{name: seam[name] for name in ("seam_gradient", "seam_ratio")},
    }


def repaints(
    pipe: Pipeline,
    images: list[Image.Image],
    holes: list[np.ndarray],
    args: argparse.Namespace,
) -> tuple[dict[str, Tensor], float]:
    """Images of every row that is repainted, by name, and the seconds that completing took."""
    settings = {"sampler": args.sampler, "steps": args.steps, "guidance": args.guidance, "seed": args.seed}
    began = time.perf_counter()
    completed = pipe.inpaint(images, holes, **settings)
    seconds = time.perf_counter() - began
    shown = {
        "reconstruction": pipe.vary(images, 0.0, mask=holes),
        "completed": completed,
        f"completed, feather {args.feather}": pipe.inpaint(images, holes, feather=args.feather, **settings),
        "completed, reconstructed": pipe.vary([results[0] for results in completed], 0.0, mask=holes),
    }
    for ring in args.rings:
        shown[f"completed, ring {ring}"] = pipe.inpaint(images, holes, ring=ring, **settings)
    first = {name: [variants[0] for variants in results] for name, results in shown.items()}
    return {name: levels_of(results) for name, results in first.items()}, seconds


def run(args: argparse.Namespace) -> None:
    pipe = Pipeline.from_pretrained(args.model, precision=args.precision)
    data = DataConfig(**pipe.metadata["data"])
    train, cache = everything(ImageSet(open_source(data), data)), cache_root() / "classifiers"
    classifier = train_classifier(*train, len(pipe.class_names), cache, data.flip)
    held_out = ImageSet(open_source(data, held_out=True), data)
    batch = held_out.__getitems__(torch.linspace(0, len(held_out) - 1, args.num_images).long().tolist())
    originals, labels = batch["images"], batch["labels"]
    levels = from_levels(originals)
    halves = torch.from_numpy(np.stack([half(pipe.image_size, side) for side in SIDES]))
    masks = halves[torch.arange(args.num_images) % len(SIDES)]
    painted, seconds = repaints(pipe, to_pil(levels), list(masks.numpy()), args)
    shown = {
        "original": originals,
        "filled": to_levels(fill_hidden(levels, masks)),
        "black": originals * ~masks[:, None],
        **painted,
    }
    used = pipe.request(sampler=args.sampler, steps=args.steps, guidance=args.guidance).values()
    rows = {name: measure(images, originals, masks, labels, classifier) for name, images in shown.items()}
    results = {
        "num_images": args.num_images,
        "labels": "none",
        "ring": RING,
        **{name: used[name] for name in ("sampler", "steps", "guidance")},
        "seed": args.seed,
        "precision": args.precision,
        "seconds_completed": round(seconds, 1),
        "rows": rows,
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--num-images", type=int, default=1000)
    parser.add_argument("--feather", type=int, default=4)
    parser.add_argument("--rings", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--sampler")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
