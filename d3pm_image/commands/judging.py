"""What samples are measured with: a classifier of the real images, its features, and the same measures of real training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import ConfigError, DataConfig
from ..data.images import ImageSet
from ..data.sources import ImageSource, cache_root
from ..metrics.classifier import train_classifier
from ..metrics.fidelity import frechet_distance, manifold, spread

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..sampling import Frame

MANIFOLD_IMAGES = 5000


def remembered_data(facts: dict, model: str, root: str = "") -> DataConfig:
    """The data that a model was trained on, at ``root`` if that is given.

    Raises:
        ConfigError: the model does not remember its data.
    """
    remembered = facts.get("data")
    if remembered is None:
        raise ConfigError("model", model, "does not remember the data it was trained on; train it with this version")
    data = DataConfig(**remembered)
    return dataclasses.replace(data, root=root or data.root, download=False)  # a model from elsewhere may not start a download


def everything(images: ImageSet) -> tuple[Tensor, Tensor]:
    """uint8 images and labels of a whole set."""
    batches = [images.__getitems__(part.tolist()) for part in torch.arange(len(images)).split(500)]
    return torch.cat([b["images"] for b in batches]), torch.cat([b["labels"] for b in batches])


def draw_images(
    pipe: Pipeline, count: int, seed: int, batch_size: int, settings: dict, watch: Callable[[Frame], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Samples to be judged, every class in turn: uint8 (count, C, h, w) and the classes (count,) that were asked for."""
    codes = pipe.generate_codes(count, seed=seed, batch_size=batch_size, watch=watch, **settings)
    images = (pipe.tokenizer_decode(codes, batch_size).cpu() * 255).round().to(torch.uint8)
    return images, torch.tensor(pipe.label_ids(None, count))


class Judge:
    """Label accuracy, Fréchet distance, precision/recall, density/coverage and within-class spread of images.

    The classifier is trained on the real training images; the same measures of real training images against the held-out ones are
    the values to reach.

    Args:
        train: The training images' source. data: How they are prepared.
        held_out: Images that the model has not seen.
        class_names: Names of the model's classes.
    """

    def __init__(self, train: ImageSource, data: DataConfig, held_out: ImageSet, class_names: Sequence[str]):
        self.class_names = class_names
        self.real, self.real_labels = everything(ImageSet(train, data))
        self.test, self.test_labels = everything(held_out)
        self.classifier = train_classifier(self.real, self.real_labels, len(class_names), cache_root() / "classifiers", data.flip)

    @cached_property
    def f_test(self) -> Tensor:
        return self.classifier.features(self.test)

    @cached_property
    def test_spread(self) -> float:
        return spread(self.f_test, self.test_labels)

    def accuracy(self) -> float:
        """Share of the held-out images that the classifier gets right."""
        return round(self.classifier.accuracy(self.test, self.test_labels), 4)

    def count(self, images: int) -> int:
        """How many of so many samples the measures of fidelity take."""
        return min(images, len(self.test), len(self.real), MANIFOLD_IMAGES)

    def fidelity(self, features: Tensor, labels: Tensor, count: int) -> dict[str, float]:
        """Measures of features (n, F) with classes (n,) against the held-out images; all but the spread of the first ``count``."""
        values = {"frechet_distance": frechet_distance(features[:count], self.f_test), **manifold(self.f_test[:count], features[:count])}
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
        some = torch.linspace(0, len(self.real) - 1, count).long()
        return self.fidelity(self.classifier.features(self.real[some]), self.real_labels[some], count)
