"""Measures of samples: a classifier of the real images, features to compare them in, and the same measures of
real images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..cache_folder import cache_root
from ..config import ConfigError, DataConfig, check, size_pair
from ..data.image_source import ImageSource
from ..data.images import ImageSet
from ..data.label_files import parted
from ..data.levels import EACH
from ..data.spread import spread_over
from ..denoiser.labels import digits_of
from ..label_sets import LabelSets, sets_of
from ..labels import every_label
from ..local_notes import is_noted
from ..metrics.classifier import Classifier, train_classifier
from ..metrics.feature_extractor import FeatureSpace, inception_score
from ..metrics.fidelity import frechet_distance, intra_class_distance, manifold
from ..metrics.kernel import kernel_distance
from ..metrics.neighbours import memorisation, nearest, over_batches
from ..pixel_range import to_levels
from ..printable import dashed, printable
from .reference_stats import Reference, evenly, parts, reference

if TYPE_CHECKING:
    from ..pipeline import Pipeline
    from ..sampling.request import Callback

MANIFOLD_IMAGES = 5000
SPLITS = 10  # of the inception score
LEAST_MB = 512  # of training images for the classifier, also where memory_mb asks for less


def remembered_data(
    metadata: dict, model: str, root: str = "", val_root: str = "", option: str = "root"
) -> DataConfig:
    """The data that a model was trained on, at ``root`` and, for its held-out images, ``val_root`` if those
    are given.

    A model may name any folder of this machine: the folder is read only if the user trained on it.

    Args:
        option: Name of the option that gives ``root``, for messages.

    Raises:
        ConfigError: the model has no metadata about its data, or the data is in a folder that the user has
            not named.
    """
    remembered = metadata.get("data")
    if remembered is None:
        raise ConfigError(
            "model", model, "has no record of the data it was trained on; train it with this version"
        )
    try:
        remembered = {"white": EACH} | remembered  # earlier models scaled each image by itself
        if remembered.get("source", "digits") not in ("folder", "shards"):
            remembered |= {"val_root": ""}  # neither of these was read
            remembered |= (
                {"root": ""}
                if remembered.get("source", "digits") in ("digits", "python", "huggingface")
                else {}
            )
        data = DataConfig(**remembered).resolved()
    except (TypeError, ValueError, LookupError) as error:
        hint = (
            f"records data that this version cannot read ({printable(error, 300)}); train it with this"
            " version"
        )
        raise ConfigError("model", model, hint) from error
    hub = data.source == "huggingface"
    folder = data.name if hub and Path(data.name).expanduser().exists() else data.root
    for name, given, found in ((option, root, folder), ("val_root", val_root, data.val_root)):
        hint = (
            f"was trained on {printable(found)!r}, a folder that was not named on this machine: name it with"
            f" --{dashed(name)} FOLDER if it is yours"
        )
        check(bool(given) or not found or is_noted(found), "model", model, hint)
    data = with_labels(data, root, model)
    # a model must not start a download
    if hub:
        return dataclasses.replace(data, name=root or data.name, download=False)
    return dataclasses.replace(
        data, root=root or data.root, val_root=val_root or data.val_root, download=False
    )


def with_labels(data: DataConfig, root: str, model: str) -> DataConfig:
    """The same with its file of labels, or the file of that name in ``root``, where a model of another
    machine or folder names one.

    Raises:
        ConfigError: a file that the user has not named.
    """
    if not isinstance(data.labels, str) or (file := parted(data.labels)[0]) is None:
        return data
    if is_noted(str(file)):
        return data
    beside = Path(root).expanduser() / file.name
    if root and beside.is_file():
        return dataclasses.replace(data, labels=f"{beside}{data.labels.rpartition(file.name)[2]}")
    hint = f"takes labels from {printable(str(file))!r}, a file that was not named on this machine"
    hint += f"; put it into the folder of the images, and name that with --root ({file.name})"
    raise ConfigError("model", model, hint)


def as_trained(source: ImageSource, class_names: Sequence[str]) -> ImageSource:
    """A source whose classes have a model's numbers, because the model may have classes that the images lack.

    Raises:
        ConfigError: a class that the model does not know.
    """
    unknown = set(source.class_names) - set(class_names)
    return (
        source
        if unknown or not class_names
        else source.numbered_by(class_names if isinstance(class_names, tuple) else tuple(class_names))
    )


def everything(images: ImageSet) -> tuple[Tensor, Tensor]:
    """uint8 images and labels of a whole set."""
    pixels, labels = [], []
    for batch in parts(images):
        labels.append(batch["labels"])
        if images.pixels is None:
            pixels.append(batch["images"])
    return torch.cat(pixels) if images.pixels is None else images.pixels, torch.cat(labels)


def within_memory(source: ImageSource, data: DataConfig) -> ImageSource:
    """A source, or images spread evenly over it, as many as fit into memory."""
    height, width = size_pair(data.image_size)
    most = max(data.memory_mb, LEAST_MB) * 2**20 // (data.channels * height * width)
    return source if len(source) <= most else source.subset(spread_over(len(source), most))


def draw_images(
    pipe: Pipeline,
    count: int,
    seed: int,
    batch_size: int,
    settings: dict,
    callback: Callback | None = None,
    rank: int = 0,
    world: int = 1,
) -> tuple[Tensor, Tensor]:
    """Samples to be evaluated, every class in turn: uint8 (count, C, h, w) and the requested classes
    (count,); of several processes, the share of one. Sample i is the same whatever the batch size and the
    number of processes."""
    numbers = torch.arange(count).tensor_split(world)[rank].tolist()
    codes = pipe.generate_codes(
        len(numbers), seed=seed, batch_size=batch_size, first=numbers[0], callback=callback, **settings
    )
    images = to_levels(pipe.tokenizer_decode(codes, batch_size).cpu())
    return images, torch.tensor(pipe.label_ids(None, count))[numbers]


class SampleEvaluator:
    """Label accuracy, Fréchet and kernel distance, precision/recall, density/coverage, inception score and
    within-class spread of images.

    Where there are classes, a classifier is trained on the real training images (as many as
    ``data.memory_mb`` holds). The same measures of real training images against the reference are the values
    to reach.

    Args:
        train: The training images' source. data: How they are prepared.
        held_out: Images that the model has not seen.
        class_names: Names of the model's classes; fewer than two leave the classifier out.
        space: Features to compare images in; None means the classifier's.
        against: The reference set: held_out, or training.

    Raises:
        ConfigError: neither classes nor features.
    """

    def __init__(
        self,
        train: ImageSource,
        data: DataConfig,
        held_out: ImageSet,
        class_names: Sequence[str],
        space: FeatureSpace | None = None,
        against: str = "held_out",
    ):
        self.class_names, self.held_out, self.against = class_names, held_out, against
        self.training = ImageSet(within_memory(train, data), data)
        if space is None and self.classifier is None:
            raise ConfigError(
                "features",
                "train",
                "the images have no classes to train a classifier on; use efficientnet or inception",
            )
        self.space = space or self.classifier.space  # type: ignore[union-attr]

    @cached_property
    def classifier(self) -> Classifier | None:
        """Trained or loaded at the first access; None without classes."""
        if len(self.class_names) < 2:
            return None
        images, labels = everything(self.training)
        places = self.places(labels)
        if not bool((places >= 0).all()):  # without a label, or with one of some sets only
            images, places = images[places >= 0], places[places >= 0]
        return train_classifier(
            images,
            places,
            len(self.told_apart),
            cache_root() / "classifiers",
            self.training.config.flip,
        )

    @cached_property
    def seen(self) -> Reference:
        """Features of the reference set."""
        return reference(
            self.held_out if self.against == "held_out" else self.training,
            self.space,
            cache_root() / "references",
        )

    @cached_property
    def test_distance(self) -> float:
        """Mean distance of two held-out images of a class."""
        return self.spread(self.seen.features, self.seen.labels)

    @cached_property
    def accuracy(self) -> float:
        """Fraction of the held-out images that the classifier gets right."""
        assert self.classifier is not None
        right = labelled = 0
        for batch in parts(self.held_out):
            known = self.places(batch["labels"]) >= 0
            right += int((self.shown(self.classifier, batch["images"]) == batch["labels"])[known].sum())
            labelled += int(known.sum())
        return round(right / max(labelled, 1), 4)

    @cached_property
    def told_apart(self) -> Tensor:
        """Numbers of the classes that the classifier tells apart, (k,) int64; of several sets of labels, the
        combinations that training images have."""
        return torch.tensor(sorted(every_label(self.class_names)))

    def places(self, labels: Tensor) -> Tensor:
        """Places of labels (n,) in :attr:`told_apart`; -1 for others, such as those of images without a
        label."""
        at = torch.searchsorted(self.told_apart, labels).clamp_max(len(self.told_apart) - 1)
        return torch.where(self.told_apart[at] == labels, at, -1)

    def spread(self, features: Tensor, labels: Tensor) -> float:
        """Mean distance of two images of a class, of those that have one."""
        known = self.places(labels) >= 0
        return intra_class_distance(features[known], labels[known])

    def shown(self, classifier: Classifier, images: Tensor) -> Tensor:
        """Classes (n,) that images show."""
        return self.told_apart[classifier.predict(images)]

    def count(self, images: int) -> int:
        """Number of samples that are compared with as many real ones for precision, recall, density and
        coverage."""
        return min(images, len(self.seen.features), MANIFOLD_IMAGES)

    def fidelity(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Measures of uint8 images (n, C, h, w), n at least 20, with classes (n,) against the reference."""
        features = self.space.features(images)
        kernel = kernel_distance(features, self.seen.features)
        values = {
            "frechet_distance": frechet_distance(features, self.seen.moments),
            "kernel_distance": kernel.value,
            "kernel_distance_standard_error": kernel.standard_error,
        }
        count = self.count(len(features))
        values |= manifold(self.seen.features[evenly(len(self.seen.features), count)], features[:count])
        if self.space.probabilities is not None:
            # parts of all classes, whatever the order
            mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
            values["inception_score"], values["inception_score_deviation"] = inception_score(
                self.space.probabilities(images[mixed]), SPLITS
            )
        if len(self.class_names) > 1:
            values["intra_class_distance"] = self.spread(features, labels) / self.test_distance
        digits = {name: 7 if name.startswith("kernel") else 4 for name in values}
        return {name: round(value, digits[name]) for name, value in values.items()}

    def measure(self, images: Tensor, labels: Tensor) -> dict:
        """Measures of images (n, C, h, w) uint8 that should show classes (n,)."""
        told = {} if self.classifier is None else self.labels_shown(self.classifier, images, labels)
        return {**told, "fidelity": self.fidelity(images, labels)}

    def labels_shown(self, classifier: Classifier, images: Tensor, labels: Tensor) -> dict:
        """Fraction of images that show the requested class, in all and per class."""
        return self.label_accuracies(self.shown(classifier, images), labels)

    def label_accuracies(self, given: Tensor, labels: Tensor) -> dict:
        """Fraction of images that show (``given``, (n,)) their own class (n,), in all and per class."""
        per_class = {
            self.class_names[c]: round(float((given[labels == c] == c).double().mean()), 4)
            for c in labels.unique().tolist()
        }
        values = {
            "label_accuracy": round(float((given == labels).double().mean()), 4),
            "label_accuracy_by_class": per_class,
        }
        if (sets := sets_of(self.class_names)) is not None:
            values["label_accuracy_by_set"] = by_set(sets, given, labels)
        return values

    def measure_real(self, samples: int) -> dict[str, float]:
        """Fidelity of as many real training images as there are samples (or as there are at all)."""
        some = self.training.__getitems__(evenly(len(self.training), samples).tolist())
        return self.fidelity(some["images"], some["labels"])

    def memory(self, images: Tensor) -> tuple[dict[str, float], Tensor, Tensor]:
        """Nearest training images of uint8 images (n, C, h, w): figures of
        :func:`~d3pm_image.metrics.neighbours.memorisation`, distances (n,) and the numbers (n,) of the
        training images."""

        def read(numbers: list[int]) -> Tensor:
            return self.training.__getitems__(numbers)["images"]

        unseen = reference(self.held_out, self.space, cache_root() / "references").features
        queries = torch.cat([self.space.features(images), unseen])
        found = nearest(queries, over_batches(read, len(self.training), self.space.features))
        own, others = ((d[: len(images)], d[len(images) :]) for d in (found.distance, found.number))
        figures = memorisation(
            dataclasses.replace(found, distance=own[0]), dataclasses.replace(found, distance=own[1])
        )
        return {name: round(value, 4) for name, value in figures.items()}, own[0], others[0]


def by_set(sets: LabelSets, given: Tensor, labels: Tensor) -> dict[str, float]:
    """Fraction of images that show the requested label of each set, of those with a label of it; labels as
    numbers (n,)."""
    sizes, places = torch.tensor(sets.sizes), torch.tensor(sets.places)
    shown, asked = (digits_of(numbers, sizes + 1, places) for numbers in (given, labels))
    right = (shown == asked).double()
    found = {}
    for place, name in enumerate(sets.names):
        told = asked[:, place] < sizes[place]
        found[name] = round(float(right[told, place].mean()), 4)
    return found
