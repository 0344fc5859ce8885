"""The reference set of an evaluation: features of real images, computed once and kept.

Kept under a hash of the images, their preparation, and the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config import size_pair
from ..data.images import ImageSet
from ..data.spread import spread_over
from ..metrics.feature_extractor import FeatureSpace
from ..metrics.fidelity import Moments
from ..tensor_cache import cached_tensors

KEPT_IMAGES = 10_000
FORMAT = 1


@dataclass(frozen=True)
class Reference:
    """Features of a set of real images.

    Args:
        moments: Of all of them.
        features, labels: (n, F) float32 and (n,) of up to KEPT_IMAGES of them, evenly spread: sets are often
            sorted by class.
    """

    moments: Moments
    features: Tensor
    labels: Tensor


def evenly(length: int, count: int) -> Tensor:
    """``count`` numbers, or all if there are fewer, spread evenly over 0..length-1."""
    return torch.from_numpy(spread_over(length, count))


def parts(images: ImageSet, size: int = 500) -> Iterator[dict[str, Tensor]]:
    """The batches of a set in its order."""
    for numbers in torch.arange(len(images)).split(size):
        yield images.__getitems__(numbers.tolist())


def images_sha256(images: ImageSet) -> str:
    """Hash of a set and of how its images are prepared."""
    how: dict[str, object] = {
        "size": size_pair(images.config.image_size),
        "channels": images.config.channels,
        "crop": images.config.fitting,
    }
    how |= images.preparation()
    return hashlib.sha256(
        json.dumps({"source": images.source.fingerprint, "images": len(images), **how}).encode()
    ).hexdigest()


def reference(images: ImageSet, space: FeatureSpace, folder: Path | None = None) -> Reference:
    """Features of a set, from ``folder`` where they have been computed before. A file that does not fit is
    computed again.

    Args:
        images: At least two.
    """
    key = json.dumps(
        {"images": images_sha256(images), **space.metadata(), "kept": KEPT_IMAGES, "format": FORMAT},
        sort_keys=True,
    )
    if folder is None:
        return from_tensors(computed(images, space))
    place = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
    count = len(images)
    found = cached_tensors(
        place,
        key,
        lambda some: is_sound(some, count),
        lambda: computed(images, space),
        "the reference of an evaluation",
    )
    return from_tensors(found)


def computed(images: ImageSet, space: FeatureSpace) -> dict[str, Tensor]:
    """The tensors of a reference, from the images."""
    moments, features, labels = Moments(), [], []
    kept = torch.zeros(len(images), dtype=torch.bool)
    kept[evenly(len(kept), KEPT_IMAGES)] = True
    for batch, keep in zip(parts(images), kept.split(500), strict=True):
        found = space.features(batch["images"]).float()
        moments.add(found)
        features.append(found[keep])
        labels.append(batch["labels"][keep])
    return {**moments.tensors(), "features": torch.cat(features), "labels": torch.cat(labels)}


def from_tensors(found: dict[str, Tensor]) -> Reference:
    """A reference from its tensors."""
    return Reference(Moments.of(found), found["features"], found["labels"])


def is_sound(found: dict[str, Tensor], images: int) -> bool:
    """Whether tensors have the names, shapes and dtypes of a reference of so many images."""
    if "origin" not in found:
        return False
    kinds = {name: (tuple(value.shape), value.dtype) for name, value in found.items()}
    size, kept = found["origin"].numel(), min(images, KEPT_IMAGES)
    double = torch.float64
    expected = {
        **{
            "count": ((), torch.int64),
            "origin": ((size,), double),
            "sum": ((size,), double),
            "products": ((size, size), double),
        },
        **{"features": ((kept, size), torch.float32), "labels": ((kept,), torch.int64)},
    }
    return kinds == expected and int(found["count"]) == images
