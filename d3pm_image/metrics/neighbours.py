"""Nearest training images of samples: does a model make new images, or copies of its training images?

A distance alone says little, so it is compared with that of held-out images: a model that memorises makes
samples that are nearer to the training images than held-out images are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

NEAR = 0.01  # fraction of the held-out images that counts as unusually near


@dataclass(frozen=True)
class Neighbours:
    """The nearest training image of each of n images.

    Args:
        distance: (n,) float64, Euclidean, between features.
        number: (n,) int64, which training image it is.
    """

    distance: Tensor
    number: Tensor


def nearest(images: Tensor, training: Iterable[Tensor]) -> Neighbours:
    """Nearest of training features, given in batches (b, F), to features (n, F), n > 0. Memory does not grow
    with the number of training images."""
    images = images.double()
    distance = torch.full((len(images),), float("inf"), dtype=torch.float64)
    number, seen = torch.zeros(len(images), dtype=torch.int64), 0
    for batch in training:
        found, index = torch.cdist(images, batch.double(), compute_mode="donot_use_mm_for_euclid_dist").min(
            dim=1
        )
        nearer = found < distance
        distance, number = torch.where(nearer, found, distance), torch.where(nearer, index + seen, number)
        seen += len(batch)
    return Neighbours(distance, number)


def unusually_near(distance: Tensor) -> float:
    """The distance below which an image is unusually near to the training images: 99 % of the held-out
    images, whose distances these (n,) are, are farther away."""
    return float(distance.quantile(NEAR))


def memorisation(samples: Neighbours, held_out: Neighbours) -> dict[str, float]:
    """How near samples are to training images, compared with held-out images: medians, and the fraction of
    samples that are nearer than 99 % of the held-out images (0.01 is expected for new images)."""
    limit = unusually_near(held_out.distance)
    return {
        "median_distance": float(samples.distance.median()),
        "median_distance_of_held_out": float(held_out.distance.median()),
        "share_unusually_near": float((samples.distance < limit).double().mean()),
    }


def over_batches(
    read: Callable[[list[int]], Tensor], count: int, features: Callable[[Tensor], Tensor], size: int = 500
) -> Iterable[Tensor]:
    """Features of images 0..count-1 in batches, as :func:`nearest` takes them."""
    for numbers in torch.arange(count).split(size):
        yield features(read(numbers.tolist()))
