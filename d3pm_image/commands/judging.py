"""What samples are measured with: a classifier of the real images, its features, and the same measures of real training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..config import ConfigError, DataConfig, size_pair
from ..data.images import ImageSet
from ..data.sources import ImageSource, cache_root
from ..metrics.classifier import train_classifier
from ..metrics.fidelity import Moments, frechet_distance, manifold, spread

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..sampling import Frame

MANIFOLD_IMAGES = 5000
KEPT_IMAGES = 50_000
LEAST_MB = 512  # of training images for the classifier, also where memory_mb asks for less


def remembered_data(facts: dict, model: str, root: str = "", val_root: str = "") -> DataConfig:
    """The data that a model was trained on, at ``root`` and, for its held-out images, ``val_root`` if those are given.

    Raises:
        ConfigError: the model does not remember its data.
    """
    remembered = facts.get("data")
    if remembered is None:
        raise ConfigError("model", model, "does not remember the data it was trained on; train it with this version")
    data = DataConfig(**remembered)
    # a model from elsewhere may not start a download
    return dataclasses.replace(data, root=root or data.root, val_root=val_root or data.val_root, download=False)


def everything(images: ImageSet) -> tuple[Tensor, Tensor]:
    """uint8 images and labels of a whole set."""
    pixels, labels = [], []
    for batch in parts(images):
        labels.append(batch["labels"])
        if images.pixels is None:
            pixels.append(batch["images"])
    return torch.cat(pixels) if images.pixels is None else images.pixels, torch.cat(labels)


def parts(images: ImageSet, size: int = 500) -> Iterator[dict[str, Tensor]]:
    """The batches of a set in its order."""
    for numbers in torch.arange(len(images)).split(size):
        yield images.__getitems__(numbers.tolist())


def within_memory(source: ImageSource, data: DataConfig) -> ImageSource:
    """A source, or images spread evenly over it, so many that they can be held in memory."""
    height, width = size_pair(data.image_size)
    most = max(data.memory_mb, LEAST_MB) * 2**20 // (data.channels * height * width)
    return source if len(source) <= most else source.subset(np.linspace(0, len(source) - 1, most).round().astype(np.int64))


def evenly(length: int, count: int) -> Tensor:
    """``count`` numbers, or all if there are fewer, spread evenly over 0..length-1."""
    return torch.linspace(0, length - 1, min(count, length), dtype=torch.float64).round().long()


def draw_images(
    pipe: Pipeline, count: int, seed: int, batch_size: int, settings: dict, watch: Callable[[Frame], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Samples to be judged, every class in turn: uint8 (count, C, h, w) and the classes (count,) that were asked for."""
    codes = pipe.generate_codes(count, seed=seed, batch_size=batch_size, watch=watch, **settings)
    images = (pipe.tokenizer_decode(codes, batch_size).cpu() * 255).round().to(torch.uint8)
    return images, torch.tensor(pipe.label_ids(None, count))


class Judge:
    """Label accuracy, Fréchet distance, precision/recall, density/coverage and within-class spread of images.

    The classifier is trained on the real training images (as many as ``data.memory_mb`` holds); the same measures of real training images
    against the held-out ones are the values to reach.

    Args:
        train: The training images' source. data: How they are prepared.
        held_out: Images that the model has not seen.
        class_names: Names of the model's classes.
    """

    def __init__(self, train: ImageSource, data: DataConfig, held_out: ImageSet, class_names: Sequence[str]):
        self.class_names, self.held_out = class_names, held_out
        self.real, self.real_labels = everything(ImageSet(within_memory(train, data), data))
        self.classifier = train_classifier(self.real, self.real_labels, len(class_names), cache_root() / "classifiers", data.flip)

    @cached_property
    def seen(self) -> tuple[Moments, Tensor, Tensor]:
        """Moments of the features of the held-out images, and the features (n, F) and labels (n,) of up to KEPT_IMAGES of them, evenly
        spread: sets are often sorted by class."""
        moments, features, labels = Moments(), [], []
        kept = torch.zeros(len(self.held_out), dtype=torch.bool)
        kept[evenly(len(kept), KEPT_IMAGES)] = True
        for batch, keep in zip(parts(self.held_out), kept.split(500), strict=True):
            found = self.classifier.features(batch["images"])
            moments.add(found)
            features.append(found[keep])
            labels.append(batch["labels"][keep])
        return moments, torch.cat(features), torch.cat(labels)

    @cached_property
    def test_spread(self) -> float:
        return spread(*self.seen[1:])

    @cached_property
    def accuracy(self) -> float:
        """Share of the held-out images that the classifier gets right."""
        right = sum(int((self.classifier.predict(b["images"]) == b["labels"]).sum()) for b in parts(self.held_out))
        return round(right / len(self.held_out), 4)

    def count(self, images: int) -> int:
        """How many of so many samples the measures of fidelity take."""
        return min(images, len(self.held_out), len(self.real), MANIFOLD_IMAGES)

    def fidelity(self, features: Tensor, labels: Tensor, count: int) -> dict[str, float]:
        """Measures of features (n, F) with classes (n,) against the held-out images; all but the spread of the first ``count``, the
        manifold's against as many held-out images."""
        moments, real, _ = self.seen
        values = {"frechet_distance": frechet_distance(features[:count], moments)}
        values |= manifold(real[evenly(len(real), count)], features[:count])
        values["within_class_spread"] = spread(features, labels) / self.test_spread
        return {name: round(value, 4) for name, value in values.items()}

    def measure(self, images: Tensor, labels: Tensor) -> dict:
        """Figures of images (n, C, h, w) uint8 that were asked to show classes (n,)."""
        given = self.classifier.predict(images)
        per_class = {self.class_names[c]: round(float((given[labels == c] == c).double().mean()), 4) for c in labels.unique().tolist()}
        return {
            "label_accuracy": round(float((given == labels).double().mean()), 4),
            "label_accuracy_by_class": per_class,
            "fidelity": self.fidelity(self.classifier.features(images), labels, self.count(len(images))),
        }

    def measure_real(self, samples: int) -> dict[str, float]:
        """Fidelity of as many real training images as are taken of ``samples``."""
        count = self.count(samples)
        some = evenly(len(self.real), count)
        return self.fidelity(self.classifier.features(self.real[some]), self.real_labels[some], count)
