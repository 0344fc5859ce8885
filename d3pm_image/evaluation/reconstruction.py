"""One pass of a tokenizer over held-out images: each is read, encoded and decoded once, and all measures are
taken then."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..data.images import ImageSet
from ..imaging import for_viewing, grid_image, to_pil
from ..metrics.fidelity import Moments, frechet_distance
from ..metrics.reconstruction import Errors, psnr_db
from ..pixel_range import from_levels, to_levels
from ..types import Tokenizer

WORST_IMAGES, COLUMNS = 16, 8
COUNTS = ("codes_used", "dead_codes", "codes_per_image")


@dataclass(frozen=True)
class Space:
    """Features in which reconstructions are compared with originals.

    Args:
        features: uint8 images (B, C, h, w) → (B, F).
        name: Name of the features' network.
        originals: Moments of the held-out images, if they are known already.
    """

    features: Callable[[Tensor], Tensor]
    name: str
    originals: Moments | None = None


class Distance:
    """Fréchet distance of reconstructions from originals."""

    def __init__(self, space: Space):
        self.space, self.originals, self.outputs = space, Moments(), Moments()

    def add(self, images: Tensor, output: Tensor) -> None:
        """Count uint8 images and their reconstructions in [0, 1]."""
        self.outputs.add(self.space.features(to_levels(output.cpu())))
        if self.space.originals is None:
            self.originals.add(self.space.features(images))

    def figures(self) -> dict[str, Any]:
        """The Fréchet distance of all reconstructions added so far, and the name of its features."""
        distance = frechet_distance(self.outputs, self.space.originals or self.originals)
        return {
            "reconstruction_frechet_distance": rounded(distance),
            "reconstruction_frechet_features": self.space.name,
        }


class Worst:
    """The images with the largest squared error so far, each with its reconstruction; of equal errors the
    first ones."""

    def __init__(self, most: int = WORST_IMAGES):
        self.most = most
        self.rows: list[tuple[float, int, Tensor, Tensor]] = []  # error, number, image, reconstruction

    def add(self, numbers: list[int], errors: Tensor, images: Tensor, output: Tensor) -> None:
        """Keep those of a batch's images whose error is among the largest so far."""
        for i in errors.argsort(descending=True, stable=True)[: self.most].tolist():
            self.rows.append((float(errors[i]), numbers[i], images[i].cpu().clone(), output[i].cpu().clone()))
        self.rows = sorted(self.rows, key=lambda row: (-row[0], row[1]))[: self.most]

    def listed(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Names and errors, worst first."""
        return [
            {"number": number, "name": names[number], "mse": rounded(error)}
            for error, number, _, _ in self.rows
        ]

    def sheet(self) -> Image.Image:
        """Rows of originals, each above its reconstruction, worst first."""
        images, captions = [], []
        for start in range(0, len(self.rows), COLUMNS):
            row = self.rows[start : start + COLUMNS]
            for column in ([image for _, _, image, _ in row], [output for _, _, _, output in row]):
                images += [for_viewing(image, 96) for image in to_pil(torch.stack(column))]
            captions += [f"number {number}" for _, number, _, _ in row]
            captions += [f"{float(psnr_db(torch.tensor(error))):.1f} dB" for error, _, _, _ in row]
        return grid_image(images, min(COLUMNS, len(self.rows)), captions)


@dataclass(frozen=True)
class Found:
    """Results of a pass: measures; the worst images, and codes (n, N) uint16 with labels (n,) int64, if they
    were requested."""

    figures: dict[str, Any]
    worst: Worst | None = None
    codes: np.ndarray | None = None
    labels: np.ndarray | None = None


def evaluate_tokenizer(
    tokenizer: Tokenizer,
    held_out: ImageSet,
    device: str,
    batch_size: int,
    space: Space | None = None,
    worst: bool = False,
    keep_codes: bool = False,
) -> Found:
    """Measure reconstructions of every held-out image.

    Args:
        tokenizer: In eval mode, on ``device``.
        space: For the Fréchet distance; None leaves it out.
        worst: Also find the images with the largest error.
        keep_codes: Also keep codes and labels, in a file without a name that the system removes.
    """
    errors, ranking = Errors(tokenizer), Worst() if worst else None
    distance = Distance(space) if space else None
    count, codes, labels = len(held_out), None, np.empty(len(held_out), np.int64)
    for numbers in tqdm(
        torch.arange(count).split(batch_size), desc="reconstructing", unit="batch", leave=False
    ):
        batch = held_out.__getitems__(numbers.tolist())
        images = from_levels(batch["images"].to(device))
        found = tokenizer.encode(images)
        output = tokenizer.decode(found)
        error = errors.add(images, output, found)
        if distance is not None:
            distance.add(batch["images"], output)
        if ranking is not None:
            ranking.add(batch["index"].tolist(), error, images, output)
        if keep_codes:
            if codes is None:
                with tempfile.TemporaryFile() as file:  # the map keeps it
                    codes = np.memmap(file, np.uint16, "w+", shape=(count, found[0].numel()))
            codes[numbers], labels[numbers] = found.flatten(1).cpu().numpy(), batch["labels"]
    figures: dict[str, Any] = {
        name: int(v) if name in COUNTS else rounded(v) for name, v in errors.figures().items()
    }
    figures |= {"num_codes": tokenizer.num_codes}
    figures |= distance.figures() if distance is not None else {}
    return Found(figures, ranking, codes, labels if keep_codes else None)


def rounded(value: float) -> float:
    """Six digits, of which five do not depend on single precision and batch size."""
    return float(f"{value:.6g}")
