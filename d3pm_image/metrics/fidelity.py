"""How close samples are to real images, and how varied, in a feature space. All in float64."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of Gaussians fitted to two feature sets (n, F) and (m, F) (Heusel et al. 2017):
    |μ_a-μ_b|² + tr(C_a + C_b - 2 (C_a C_b)^½)."""
    a, b = a.double(), b.double()
    c_a, c_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(c_a)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ c_b @ root).clamp_min(0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + c_a.trace() + c_b.trace() - 2 * cross)


def manifold(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), features (n, F)."""
    real, fake = real.double(), fake.double()
    k = min(neighbours, len(real) - 1, len(fake) - 1)
    radius_real = torch.cdist(real, real).kthvalue(k + 1, dim=1).values
    radius_fake = torch.cdist(fake, fake).kthvalue(k + 1, dim=1).values
    between = torch.cdist(real, fake)
    inside_real = between <= radius_real[:, None]
    return {
        "precision": float(inside_real.any(0).double().mean()),
        "recall": float((between <= radius_fake[None]).any(1).double().mean()),
        "density": float(inside_real.double().sum(0).mean() / k),
        "coverage": float(inside_real.any(1).double().mean()),
    }


def spread(features: Tensor, labels: Tensor, most: int = 2000) -> float:
    """Mean distance of two images of the same class, averaged over classes with at least two images (of at most the
    first ``most`` of each); NaN if there is no such class."""
    features = features.double()
    means = []
    for label in labels.unique():
        of_class = features[labels == label][:most]
        if len(of_class) > 1:
            means.append(torch.pdist(of_class).mean())
    return float(torch.stack(means).mean()) if means else float("nan")
