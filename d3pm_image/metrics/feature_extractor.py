"""A feature space: what two sets of images are compared in, and how to say which one it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureSpace:
    """Features of images, and the metadata without which a distance in them means nothing.

    Args:
        features: uint8 images (B, C, h, w) → (B, F) float on the CPU.
        name: Whose features they are.
        sha256: Of the network's weights.
        preparation: What is done to the images first: size, resampling, grey.
        probabilities: uint8 images → (B, classes) probabilities, where the network tells classes apart.
    """

    features: Callable[[Tensor], Tensor]
    name: str
    sha256: str
    preparation: str
    probabilities: Callable[[Tensor], Tensor] | None = None

    def metadata(self) -> dict[str, str]:
        """What a result file says of it."""
        return {"network": self.name, "sha256": self.sha256, "preparation": self.preparation}


def inception_score(probabilities: Tensor, splits: int = 10) -> tuple[float, float]:
    """exp of the mean KL divergence of p(y|x) from p(y), over ``splits`` equal parts of the images: mean and
    standard deviation (Salimans et al. 2016), from probabilities (n, classes), n ≥ splits. It means something
    only where the classes are those that the images show: high for samples that are sure and cover all
    classes evenly."""
    assert len(probabilities) >= splits
    scores = []
    for part in probabilities.double().tensor_split(splits):
        marginal = part.mean(0, keepdim=True)
        scores.append((torch.special.xlogy(part, part) - torch.xlogy(part, marginal)).sum(1).mean().exp())
    found = torch.stack(scores)
    return float(found.mean()), float(found.std(correction=0))
