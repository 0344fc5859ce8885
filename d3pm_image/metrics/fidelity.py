"""How close samples are to real images, and how varied, in a feature space. All in float64."""

from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Mean (F,) and covariance (F, F) of feature vectors, added in batches, in constant memory."""

    def __init__(self, features: Tensor | None = None):
        self.count = 0
        if features is not None:
            self.add(features)

    def add(self, features: Tensor) -> None:
        """Count features (n, F)."""
        features = features.double()
        if not self.count:
            size = features.shape[1]
            # differences from it keep their digits if the mean is far larger than the deviation
            self.origin = features[0].clone()
            self.sum, self.products = features.new_zeros(size), features.new_zeros(size, size)
        features = features - self.origin
        self.count += len(features)
        self.sum += features.sum(0)
        self.products += features.T @ features

    def tensors(self) -> dict[str, Tensor]:
        """Tensors from which :meth:`of` restores them."""
        return {
            "count": torch.tensor(self.count),
            "origin": self.origin,
            "sum": self.sum,
            "products": self.products,
        }

    @classmethod
    def of(cls, tensors: dict[str, Tensor]) -> Moments:
        """From :meth:`tensors`. Raises KeyError where one is missing."""
        made = cls()
        made.count = int(tensors["count"])
        made.origin, made.sum, made.products = (tensors[name] for name in ("origin", "sum", "products"))
        return made

    @property
    def mean(self) -> Tensor:
        """Mean of all features, (F,)."""
        return self.origin + self.sum / self.count

    @property
    def covariance(self) -> Tensor:
        """Needs two features or more."""
        assert self.count > 1
        return (self.products - torch.outer(self.sum, self.sum) / self.count) / (self.count - 1)


def frechet_distance(a: Tensor | Moments, b: Tensor | Moments) -> float:
    """Fréchet distance of Gaussians fitted to two feature sets, (n, F) and (m, F) or their moments (Heusel et
    al. 2017), ``|μ_a-μ_b|² + tr(C_a + C_b - 2 (C_a C_b)^½)``."""
    a, b = (x if isinstance(x, Moments) else Moments(x) for x in (a, b))
    c_a, c_b = a.covariance, b.covariance
    # tr (C_a C_b)^½ as singular values of the roots' product: eigenvalues of a product of covariances would
    # lose half the digits, which is all of them in directions that few images leave empty
    cross = torch.linalg.svdvals(root(c_a) @ root(c_b)).sum()
    distance = float((a.mean - b.mean).square().sum() + c_a.trace() + c_b.trace() - 2 * cross)
    return max(0.0, distance)  # rounding may give a negative distance of equal sets


def root(covariance: Tensor) -> Tensor:
    """The symmetric square root of a covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def manifold(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), features (n,
    F)."""
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


def intra_class_distance(features: Tensor, labels: Tensor, most: int = 2000) -> float:
    """Mean distance of two images of the same class, averaged over classes with at least two images (of at
    most the first ``most`` of each); NaN if there is no such class."""
    features = features.double()
    means = []
    for label in labels.unique():
        of_class = features[labels == label][:most]
        if len(of_class) > 1:
            means.append(torch.pdist(of_class).mean())
    return float(torch.stack(means).mean()) if means else float("nan")
