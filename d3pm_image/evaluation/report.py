"""The part of evaluate's report about samples: measures, how they were made and compared, and images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from ..config import DataConfig
from ..imaging import for_viewing, grid_image, save_image, to_pil
from ..metrics.seam import border_seam
from ..outputs import new_files
from ..pixel_range import from_levels, has_alpha
from ..printable import printable
from ..storage import write_text
from .generate_samples import Drawn
from .reference_stats import evenly, images_sha256
from .samples import SampleEvaluator

if TYPE_CHECKING:
    from ..data.images import ImageSet
    from ..pipeline import Pipeline

NEAREST = 16  # samples in the image of neighbours


def evaluate_samples(
    args: Any, pipe: Pipeline, data: DataConfig, evaluator: SampleEvaluator, drawn: Drawn
) -> dict[str, Any]:
    """Label accuracy, fidelity and diversity of samples, see :class:`~.samples.SampleEvaluator`, and how they
    were made and compared.

    Args:
        args: Options of evaluate.
    """
    compared = evaluator.held_out if args.reference == "held_out" else evaluator.training
    values: dict[str, Any] = {
        "num_samples": args.num_samples,
        "seed": args.seed,
        "precision": args.precision,
        "settings": pipe.request(**args.changes()).values(),
        "calls_per_image": drawn.calls_per_image,
        "seconds": round(drawn.seconds, 3),
        "processes": drawn.processes,
        "sha256": drawn.sha256,
        "features": {**evaluator.space.metadata(), "channels": data.channels, **background(data)},
        "reference": {
            "set": args.reference, "sha256": images_sha256(compared), "images": len(compared),
            "image_size": data.image_size, "crop": data.fitting,
        },
    }  # fmt: skip
    if evaluator.classifier is not None:
        values |= {
            "classifier": evaluator.classifier.name,
            "classifier_accuracy_on_held_out": evaluator.accuracy,
        }
    values |= evaluator.measure(drawn.images, drawn.labels)
    if pipe.repeats != "none":
        values["border_seam"] = border_seams(pipe, drawn.images, compared)
    values["fidelity_of_real_training_images"] = evaluator.measure_real(len(drawn.images))
    if args.neighbours:
        values["memorisation"] = nearest_image(args, evaluator, drawn)
    if args.samples:
        save_report(
            grid_image([for_viewing(i) for i in to_pil(from_levels(drawn.images[:64]))], 8),
            args.samples,
            args.overwrite,
            "samples",
        )
    values["note"] = (
        "fidelity in the features named above, against the reference; precision, recall, density and"
        f" coverage of {evaluator.count(len(drawn.images))} samples and as many real images;"
        " intra_class_distance is the mean distance of two images of a class, relative to the reference"
    )
    return values


def background(data: DataConfig) -> dict[str, str]:
    """What transparent images lie on where features are taken of them; nothing of others."""
    return {"background": "white"} if has_alpha(data.channels) else {}


def border_seams(pipe: Pipeline, images: torch.Tensor, real: ImageSet) -> dict[str, float]:
    """How visible the border of samples (n, C, h, w) uint8 is where they repeat, compared with the borders of
    tokens inside, and that of as many real images; see :func:`~d3pm_image.metrics.seam.border_seam`."""
    spacing = pipe.tokenizer.downsampling * pipe.denoiser.config.patch
    some = real.__getitems__(evenly(len(real), min(len(real), len(images))).tolist())["images"]
    both = {"samples": images, "real_images": some}
    return {
        name: round(border_seam(from_levels(one), pipe.repeats, spacing), 4) for name, one in both.items()
    }


def nearest_image(args: Any, evaluator: SampleEvaluator, drawn: Drawn) -> dict[str, float]:
    """Memorisation; writes the samples that are nearest to a training image, each above that image, nearest
    first."""
    figures, distance, number = evaluator.memory(drawn.images)
    chosen = distance.argsort()[:NEAREST].tolist()
    real = evaluator.training.__getitems__(number[chosen].tolist())["images"]
    images, captions = [], []
    for start in range(0, len(chosen), 8):
        here = slice(start, start + 8)
        rows = from_levels(torch.cat([drawn.images[chosen[here]], real[here]]))
        images += [for_viewing(image, 96) for image in to_pil(rows)]
        captions += [f"sample {i}" for i in chosen[here]] + [
            f"training, {float(distance[i]):.2f}" for i in chosen[here]
        ]
    save_report(
        grid_image(images, min(8, len(chosen)), captions), args.neighbours, args.overwrite, "neighbours"
    )
    return figures


def write_figures(path: str, overwrite: bool, text: str) -> None:
    """Write measures as a file and print its path on stderr. If the file cannot be written, they are printed,
    because they took long."""
    try:
        with new_files(Path(path), overwrite) as files:
            write_text(files.draft, text + "\n")
    except OSError:
        print(text, flush=True)
        raise
    print(f"figures: {printable(files.path)}", file=sys.stderr)


def save_report(image: Image.Image, path: str, overwrite: bool, what: str) -> None:
    """Write an image that belongs to the measures, and print its path on stderr, because stdout is for the
    measures only."""
    with new_files(Path(path), overwrite) as files:
        save_image(image, files.draft)
    print(f"{what}: {printable(files.path, 0)}", file=sys.stderr)
