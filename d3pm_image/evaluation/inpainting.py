"""Inpainting of held-out images: a region of each is hidden and completed, and the completions are compared
with the images.

The known pixels of completions are those of held-out images, so their distance to held-out images is smaller
than that of samples. What a perfect denoiser would reach stands beside each measure: the same for the hidden
region as the tokenizer gives the real one back.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..config import check
from ..data.images import ImageSet, to_array
from ..editing.hidden import LEAST_SIDE, hidden_mask
from ..editing.repaint import InpaintConfig, repaint
from ..imaging import to_pil
from ..metrics.fidelity import Moments, frechet_distance
from ..metrics.repaints import Repaints
from ..pixel_range import from_levels, to_levels
from .reference_stats import evenly
from .samples import SampleEvaluator
from .sweep import Meter, calls_expected

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from .options import Evaluation

LEAK_IMAGES = 16
"""The first so many images are completed a second time, with other content in the hidden region."""


def check_inpainting(args: Evaluation, pipe: Pipeline, held_out: ImageSet) -> None:
    """Raises ConfigError, before anything is drawn, where images are too small or too few, or the sampler
    does not fit the model."""
    height, width = held_out.size
    hint = f"needs images of {LEAST_SIDE} pixels per side or more, and these have {width}x{height}"
    check(min(height, width) >= LEAST_SIDE, "inpaint", args.inpaint, hint)
    hint = f"needs 2 held-out images or more, and there are {len(held_out)}"
    check(len(held_out) >= 2, "inpaint", args.inpaint, hint)
    pipe.request(**args.changes()).check_fit(pipe.process, pipe.grid)


@dataclass
class Shown:
    """Running measures of what images show, against an evaluator's reference, in memory of one number per
    image."""

    evaluator: SampleEvaluator
    moments: Moments = field(default_factory=Moments)
    classes: list[Tensor] = field(default_factory=list)

    def add(self, images: Tensor) -> None:
        """Count uint8 images (b, C, h, w)."""
        self.moments.add(self.evaluator.space.features(images))
        if self.evaluator.classifier is not None:
            self.classes.append(self.evaluator.shown(self.evaluator.classifier, images))

    def figures(self, labels: Tensor) -> dict[str, Any]:
        """Fréchet distance, and label accuracy of the images that have a label; ``labels`` (n,) of all."""
        distance = {"frechet_distance": round(frechet_distance(self.moments, self.evaluator.seen.moments), 4)}
        if not self.classes:
            return distance
        known = self.evaluator.places(labels) >= 0
        if not bool(known.any()):
            return distance
        return {
            **self.evaluator.label_accuracies(torch.cat(self.classes)[known], labels[known]),
            **distance,
        }


class Completions:
    """Running measures of one region: the completions, and the hidden region as the tokenizer gives it
    back."""

    def __init__(self, evaluator: SampleEvaluator):
        self.shown, self.limit = Shown(evaluator), Shown(evaluator)
        self.repaints, self.limit_repaints = Repaints(), Repaints()
        self.seconds, self.leaks, self.leaks_checked = 0.0, 0, 0

    def add(self, completed: Tensor, originals: Tensor, restored: Tensor, masks: Tensor) -> None:
        """Count uint8 completions, originals and reconstructions (b, C, h, w), masks (b, h, w) bool."""
        pasted = torch.where(masks[:, None], restored, originals)
        for shown, repaints, images in (
            (self.shown, self.repaints, completed),
            (self.limit, self.limit_repaints, pasted),
        ):
            shown.add(images)
            repaints.add(images, originals, masks)

    def figures(self, labels: Tensor) -> dict[str, Any]:
        """All measures of the region; ``labels`` (n,) of all images."""
        limit = self.limit.figures(labels) | self.limit_repaints.figures()
        names = ("label_accuracy", "frechet_distance", "mse", "psnr_db", "seam_gradient", "seam_ratio")
        return {
            **self.shown.figures(labels),
            **self.repaints.figures(),
            "leaks": self.leaks,
            "leaks_checked": self.leaks_checked,
            "reconstruction": {name: limit[name] for name in names if name in limit},
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True)
class Batch:
    """Held-out images that are completed together.

    Args:
        first: Place of the first one among those that are measured.
        numbers: Their numbers in the set.
        images, restored: uint8 (b, C, h, w), as they are and as the tokenizer gives them back.
        labels: (b,) int64.
    """

    first: int
    numbers: list[int]
    images: Tensor
    restored: Tensor
    labels: Tensor


def evaluate_inpainting(
    args: Evaluation, pipe: Pipeline, held_out: ImageSet, evaluator: SampleEvaluator
) -> dict[str, Any]:
    """Measures of every region in ``args.inpaint``, on up to ``args.num_samples`` held-out images, spread
    evenly over the set.

    Image i of the set loses what :func:`~d3pm_image.editing.hidden.hidden_mask` says of the seed and i, and
    is completed without a label: what it shows afterwards is then the model's own conclusion from what is
    left of it.

    Returns:
        How it was done; ``held_out``, the images as they are, and ``reconstructed``, as the tokenizer gives
        them back, each with Fréchet distance and label accuracy; and ``regions``, by name.
    """
    numbers = evenly(len(held_out), args.num_samples).tolist()
    real, restored, labels = Shown(evaluator), Shown(evaluator), []
    found = {name: Completions(evaluator) for name in args.regions()}
    with progress(args, pipe, len(numbers) + min(LEAK_IMAGES, len(numbers))) as bar:
        meter = Meter(bar, 1)
        for batch in batches(args, pipe, held_out, numbers):
            labels.append(batch.labels)
            real.add(batch.images)
            restored.add(batch.restored)
            for name, region in found.items():
                measure_region(args, pipe, name, region, batch, meter)
    classes = torch.cat(labels)
    return {
        "num_images": len(numbers),
        "seed": args.seed,
        "labels": "none",
        "held_out": real.figures(classes),
        "reconstructed": restored.figures(classes),
        "regions": {name: region.figures(classes) for name, region in found.items()},
        "note": NOTE,
    }


def measure_region(
    args: Evaluation, pipe: Pipeline, name: str, region: Completions, batch: Batch, meter: Meter
) -> None:
    """Complete the images of a batch without a region, and count the results; those of the first batch also
    with other content in the region."""
    size: tuple[int, int] = (batch.images.shape[2], batch.images.shape[3])
    hidden = np.stack([hidden_mask(name, size, args.seed, number) for number in batch.numbers])
    masks, began = torch.from_numpy(hidden), time.perf_counter()
    completed = complete(args, pipe, batch.images, hidden, batch.first, meter)
    region.seconds += time.perf_counter() - began
    region.add(completed, batch.images, batch.restored, masks)
    if batch.first == 0:  # again in the same batch, whose size may decide how numbers are rounded
        again = complete(args, pipe, replaced(batch.images, masks), hidden, 0, meter)
        region.leaks_checked = len(completed)
        region.leaks = int((completed != again).flatten(1).any(1).sum())


NOTE = (
    "frechet_distance in the features and against the reference of samples; reconstruction is the hidden"
    " region as the tokenizer gives the real one back; leaks counts completions that changed when other"
    " content was hidden"
)


def progress(args: Evaluation, pipe: Pipeline, images: int) -> tqdm:
    """A progress bar of the network calls for so many images of every region."""
    sampling = pipe.request(**args.changes()).sampling
    if sampling.negative_label == -1:  # without a label there is nothing to guide to
        sampling = dataclasses.replace(sampling, guidance=1.0)
    calls = calls_expected(sampling) * images * len(args.regions())
    form = "completing images {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left"
    return tqdm(total=calls, bar_format=form, mininterval=0.5, leave=False)


def batches(args: Evaluation, pipe: Pipeline, held_out: ImageSet, numbers: list[int]) -> Iterator[Batch]:
    """The images of a set with the given numbers: the first :data:`LEAK_IMAGES` of them, and then as many at
    a time as ``args.batch_size`` says."""
    starts = [0, *range(LEAK_IMAGES, len(numbers), args.batch_size), len(numbers)]
    for first, after in itertools.pairwise(starts):
        batch = held_out.__getitems__(numbers[first:after])
        images, labels = batch["images"], batch["labels"]
        back = reconstructed(pipe, images, args.batch_size)
        yield Batch(first, numbers[first:after], images, back, labels)


def reconstructed(pipe: Pipeline, images: Tensor, batch_size: int) -> Tensor:
    """uint8 images (b, C, h, w) through the tokenizer and back."""
    codes = [pipe.tokenizer.encode(from_levels(part.to(pipe.device))) for part in images.split(batch_size)]
    return to_levels(pipe.tokenizer_decode(torch.cat(codes), batch_size))


def complete(
    args: Evaluation,
    pipe: Pipeline,
    images: Tensor,
    masks: np.ndarray,
    first: int,
    meter: Meter,
) -> Tensor:
    """uint8 images (b, C, h, w), of which masks (b, h, w) hide a part, inpainted; the first of them is number
    ``first`` under the seed."""
    request = pipe.request(
        seed=args.seed, batch_size=args.batch_size, first=first, callback=meter, **args.changes()
    )
    given, labels = to_pil(from_levels(images)), [pipe.no_label] * len(images)
    results = repaint(pipe, request, InpaintConfig(), given, list(masks), labels, 1, quiet=True)
    return levels_of([variants[0] for variants in results])


def levels_of(images: list[Any]) -> Tensor:
    """uint8 (b, C, h, w) of Pillow images of one size and mode, L, LA, RGB or RGBA."""
    return torch.from_numpy(np.stack([to_array(image) for image in images]))


def replaced(images: Tensor, masks: Tensor) -> Tensor:
    """uint8 images (b, C, h, w) with every level under masks (b, h, w) bool replaced by its negative, so that
    no hidden pixel stays as it was."""
    return torch.where(masks[:, None], ~images, images)
