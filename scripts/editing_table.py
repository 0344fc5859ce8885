"""Half of each test image hidden and completed: does it still show its class, and does the seam show?

    python scripts/editing_table.py runs/fashion_mnist/diffusion docs/results/editing_fashion_mnist.json --num-images 600 --precision bf16

Image i of the test set loses its left, right, top or bottom half in turn and is completed without being told its class. The file
holds, over all images and by side, the accuracy of a classifier trained on the real training images, and the seam: the mean jump across
the border of the hidden half over that of the real image (d3pm_image/metrics/seam.py), for

    original         the real image
    filled           the hidden half as the tokenizer sees it: a smooth continuation of the known one
    black            the hidden half black
    reconstruction   the hidden half as the tokenizer gives the real one back: what a perfect denoiser would reach
    completed        the hidden half repainted; the same with a feathered seam, put through the tokenizer once more, and with rings of
                     code cells around it that are drawn as well
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
from d3pm_image.editing.receptive import RING
from d3pm_image.evaluation.samples import everything
from d3pm_image.imaging import fill_hidden, to_pil
from d3pm_image.metrics.classifier import Classifier, train_classifier
from d3pm_image.metrics.seam import seam_gradients, seam_ratio

SIDES = ("left", "right", "top", "bottom")


def halves(size: tuple[int, int]) -> Tensor:
    """Masks that hide the left, right, top and bottom half, (4, h, w) bool."""
    masks = torch.zeros(4, *size, dtype=torch.bool)
    masks[0, :, : size[1] // 2] = masks[1, :, size[1] // 2 :] = True
    masks[2, : size[0] // 2], masks[3, size[0] // 2 :] = True, True
    return masks


def stacked(results: list[list[Image.Image]]) -> Tensor:
    """The first result of each picture, uint8 (B, C, h, w)."""
    arrays = np.stack([np.asarray(variants[0]) for variants in results])
    return torch.from_numpy(arrays[:, None] if arrays.ndim == 3 else arrays.transpose(0, 3, 1, 2).copy())


def measure(images: Tensor, originals: Tensor, masks: Tensor, labels: Tensor, judge: Classifier) -> dict[str, float]:
    """Accuracy and seam of uint8 images (B, C, h, w)."""
    right = (judge.predict(images) == labels).double()
    levels, real = images.float() / 255, originals.float() / 255
    return {
        "accuracy": round(float(right.mean()), 4),
        "accuracy_by_side": {side: round(float(right[i :: len(SIDES)].mean()), 4) for i, side in enumerate(SIDES)},
        "seam_gradient": round(float(seam_gradients(levels, masks).mean()), 5),
        "seam_ratio": round(seam_ratio(levels, real, masks), 4),
    }


def repaints(pipe: Pipeline, pictures: list[Image.Image], holes: list[np.ndarray], args: argparse.Namespace) -> tuple[dict, float]:
    """Images of every row that is painted, by name, and the seconds that completing took."""
    settings = {"sampler": args.sampler, "steps": args.steps, "guidance": args.guidance, "seed": args.seed}
    began = time.perf_counter()
    completed = pipe.inpaint(pictures, holes, **settings)
    seconds = time.perf_counter() - began
    shown = {
        "reconstruction": stacked(pipe.vary(pictures, 0.0, mask=holes)),
        "completed": stacked(completed),
        f"completed, feather {args.feather}": stacked(pipe.inpaint(pictures, holes, feather=args.feather, **settings)),
        "completed, reconstructed": stacked(pipe.vary([results[0] for results in completed], 0.0, mask=holes)),
    }
    for ring in args.rings:
        shown[f"completed, ring {ring}"] = stacked(pipe.inpaint(pictures, holes, ring=ring, **settings))
    return shown, seconds


def run(args: argparse.Namespace) -> None:
    pipe = Pipeline.from_pretrained(args.model, precision=args.precision)
    data = DataConfig(**pipe.facts["data"])
    judge = train_classifier(*everything(ImageSet(open_source(data), data)), len(pipe.class_names), cache_root() / "classifiers", data.flip)
    held_out = ImageSet(open_source(data, held_out=True), data)
    batch = held_out.__getitems__(torch.linspace(0, len(held_out) - 1, args.num_images).long().tolist())
    originals, labels = batch["images"], batch["labels"]
    masks = halves(pipe.image_size)[torch.arange(args.num_images) % len(SIDES)]
    painted, seconds = repaints(pipe, to_pil(originals.float() / 255), list(masks.numpy()), args)
    shown = {
        "original": originals,
        "filled": (fill_hidden(originals.float() / 255, masks) * 255).round().to(torch.uint8),
        "black": originals * ~masks[:, None],
        **painted,
    }
    used = pipe.request(sampler=args.sampler, steps=args.steps, guidance=args.guidance).values()
    figures = {
        "num_images": args.num_images,
        "labels": "none",
        "ring": RING,
        "sampler": used["sampler"],
        "steps": used["steps"],
        "guidance": used["guidance"],
        "seed": args.seed,
        "precision": args.precision,
        "seconds_completed": round(seconds, 1),
        "rows": {name: measure(images, originals, masks, labels, judge) for name, images in shown.items()},
    }
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
