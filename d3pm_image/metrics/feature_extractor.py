"""A feature space, in which two sets of images are compared, and its metadata."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeatureSpace:
    """Features of images, and the metadata that identifies them.

    Args:
        features: uint8 images (B, C, h, w) → (B, F) float on the CPU.
        name: Name of the network.
        sha256: Of the network's weights.
        preparation: Preprocessing of the images: size, resampling, grey.
        probabilities: uint8 images → (B, classes) probabilities, if the network is a classifier.
    """

    features: Callable[[Tensor], Tensor]
    name: str
    sha256: str
    preparation: str
    probabilities: Callable[[Tensor], Tensor] | None = None

    def metadata(self) -> dict[str, str]:
        """Metadata for result files."""
        return {"network": self.name, "sha256": self.sha256, "preparation": self.preparation}


def inception_score(probabilities: Tensor, splits: int = 10) -> tuple[float, float]:
    """exp of the mean KL divergence of p(y|x) from p(y), over ``splits`` equal parts of the images: mean and
    standard deviation (Salimans et al. 2016), from probabilities (n, classes), n ≥ splits. It is meaningful
    only if the classes are those of the images: high for samples that are classified with certainty and cover
    all classes evenly."""
    assert len(probabilities) >= splits
    scores = []
    for part in probabilities.double().tensor_split(splits):
        marginal = part.mean(0, keepdim=True)
        scores.append((torch.special.xlogy(part, part) - torch.xlogy(part, marginal)).sum(1).mean().exp())
    found = torch.stack(scores)
    return float(found.mean()), float(found.std(correction=0))
