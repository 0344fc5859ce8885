"""Where images come from: folders, tar shards, torchvision sets and the embedded digits behind one small record.

A source lists its images and can load the i-th as a Pillow image; it knows nothing of sizes or batches. Each
has a fingerprint that changes when the data changes, which ties cached codes to the images they came from.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..config import ConfigError, DataConfig, need
from ..image_files import image_endings, opened
from ..imaging import open_image
from .shards import open_shards

# torchvision name → (class, keyword arguments of the training part, of the held-out part or None)
TORCHVISION: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None]] = {
    "fashion_mnist": ("FashionMNIST", {"train": True}, {"train": False}),
    "mnist": ("MNIST", {"train": True}, {"train": False}),
    "kmnist": ("KMNIST", {"train": True}, {"train": False}),
    "cifar10": ("CIFAR10", {"train": True}, {"train": False}),
    "cifar100": ("CIFAR100", {"train": True}, {"train": False}),
    "eurosat": ("EuroSAT", {}, None),
    "flowers102": ("Flowers102", {"split": "train"}, {"split": "val"}),
    "stl10": ("STL10", {"split": "train"}, {"split": "test"}),
    "svhn": ("SVHN", {"split": "train"}, {"split": "test"}),
    "food101": ("Food101", {"split": "train"}, {"split": "test"}),
    "oxford_iiit_pet": ("OxfordIIITPet", {"split": "trainval"}, {"split": "test"}),
}
SOURCES = ("digits", "folder", "shards", *TORCHVISION)
HOLDOUT_SEED = 0x5EED


@dataclass(frozen=True)
class Files:
    """Loads the i-th of some image files. (Loaders are small classes, not closures: worker processes pickle them.)"""

    paths: list[Path]

    def __call__(self, index: int) -> Image.Image:
        return open_image(self.paths[index])


@dataclass(frozen=True)
class Arrays:
    """Gives the i-th of uint8 arrays (n, h, w)."""

    pixels: np.ndarray

    def __call__(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])


@dataclass(frozen=True)
class FromDataset:
    """Gives the picture of the i-th item of a torchvision set."""

    dataset: Any

    def __call__(self, index: int) -> Image.Image:
        return self.dataset[index][0]


@dataclass(frozen=True)
class Chosen:
    """Loads the chosen images of another source."""

    load: Callable[[int], Image.Image]
    chosen: np.ndarray

    def __call__(self, index: int) -> Image.Image:
        return self.load(int(self.chosen[index]))


class ChosenNames(Sequence):
    """The chosen names of a source that makes its names when they are asked for."""

    def __init__(self, names: Sequence[str], chosen: np.ndarray):
        self.names, self.chosen = names, chosen

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self.names[int(self.chosen[index])]


@dataclass(frozen=True)
class ImageSource:
    """A list of images that can be loaded one by one.

    Args:
        names: A name an image, for messages.
        labels: int64 (n,) in 0..C-1, or None.
        class_names: C names, empty without labels.
        load: index → Pillow image; raises OSError or a Pillow error for an unreadable one.
        fingerprint: Hex digest of what the source holds.
    """

    names: Sequence[str]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)

    def numbered_by(self, class_names: tuple[str, ...]) -> ImageSource:
        """The same images with another source's class numbers.

        Raises:
            ConfigError: a class that the other source does not have.
        """
        if self.labels is None or self.class_names == class_names:
            return self
        unknown = sorted(set(self.class_names) - set(class_names))
        need(not unknown, "data.val_root", unknown[:3], "classes that data.root does not have; name the subfolders alike")
        labels = np.array([class_names.index(name) for name in self.class_names], np.int64)[self.labels]
        return replace(self, labels=labels, class_names=class_names)

    def subset(self, indices: np.ndarray) -> ImageSource:
        """The images at ``indices``, in that order."""
        chosen = np.asarray(indices, np.int64)
        digest = hashlib.sha256(self.fingerprint.encode() + chosen.tobytes()).hexdigest()
        labels = None if self.labels is None else self.labels[chosen]
        names = [self.names[i] for i in chosen] if isinstance(self.names, list) else ChosenNames(self.names, chosen)
        return ImageSource(names, labels, self.class_names, Chosen(self.load, chosen), digest)


def default_root() -> Path:
    """Folder of torchvision sets: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image, then datasets."""
    return cache_root() / "datasets"


def cache_root() -> Path:
    """Folder of everything that is cached: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image."""
    return Path(os.environ.get("D3PM_IMAGE_CACHE") or Path.home() / ".cache" / "d3pm_image")


def digits() -> ImageSource:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels with 17 grey levels (UCI, test part of the set)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError("data.source", "digits", "needs scikit-learn; pip install 'd3pm-image[digits]'") from None
    pixels, labels = load_digits(return_X_y=True)
    pixels = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    names = [f"digit {i}" for i in range(len(pixels))]
    return ImageSource(names, labels.astype(np.int64), tuple("0123456789"), Arrays(pixels), digest)


def folder(root: str | Path, use_labels: bool = True) -> ImageSource:
    """Every image below ``root``, nested or flat, of the formats of :data:`~d3pm_image.image_files.FORMATS`. The first level of subfolders
    gives the classes when every image lies in one. Files whose header cannot be read are reported and left out.

    Raises:
        ConfigError: no such folder, or nothing readable in it.
    """
    root = Path(root).expanduser()
    need(root.is_dir(), "data.root", str(root), "no such folder; name a folder of images")
    endings = image_endings()
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in endings and not p.name.startswith(".") and p.is_file())
    good = []
    for path in files:
        try:
            with opened(path, load=False):
                good.append(path)
        except Exception as error:  # Pillow raises many kinds for broken files, and each means: leave it out
            warnings.warn(f"{path}: not a readable image, left out ({type(error).__name__})", stacklevel=2)
    need(bool(good), "data.root", str(root), f"no readable image among {len(files)} image files; check the folder")
    relative = [p.relative_to(root) for p in good]
    stamp = hashlib.sha256()
    for path, short in zip(good, relative, strict=True):
        stat = path.stat()
        stamp.update(f"{short}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if use_labels and all(len(r.parts) > 1 for r in relative):
        classes = tuple(sorted({r.parts[0] for r in relative}))
        index = {name: i for i, name in enumerate(classes)}
        labels = np.array([index[r.parts[0]] for r in relative], np.int64)
    return ImageSource([str(r) for r in relative], labels, classes, Files(good), stamp.hexdigest())


def shard_set(root: str, use_labels: bool, class_names: tuple[str, ...] = ()) -> ImageSource:
    """The pictures of tar shards in the webdataset layout; see :func:`~d3pm_image.data.shards.open_shards`."""
    found = open_shards(root, cache_root(), use_labels, class_names)
    return ImageSource(found.names, found.labels, found.class_names, found.load, found.fingerprint)


def torchvision_set(name: str, root: str, download: bool, held_out: bool) -> ImageSource:
    """A torchvision data set found under ``root``.

    Raises:
        ConfigError: not there and not asked to download it.
    """
    import torchvision.datasets

    kind, train_part, held_part = TORCHVISION[name]
    part = held_part if held_out and held_part is not None else train_part
    where = Path(root).expanduser() if root else default_root()
    make = getattr(torchvision.datasets, kind)
    try:
        dataset = make(str(where), **part, download=download)
    except (RuntimeError, OSError) as error:
        if download:
            raise ConfigError(
                "data.download", True, f"{name} could not be fetched into {where} ({' '.join(str(error).split())[:200]})"
            ) from error
        raise ConfigError(
            "data.root", str(where), f"{name} is not there; add --data.download true, or name the folder that holds it"
        ) from error
    pixels = getattr(dataset, "data", None)
    files = getattr(dataset, "samples", None)
    if files is not None:
        return torchvision_folder(dataset, where)
    targets = getattr(dataset, "targets", None)
    if targets is None:
        targets = getattr(dataset, "labels", None)
    if targets is None:
        targets = getattr(dataset, "_labels", None)
    labels = None if targets is None else np.asarray(targets, np.int64)
    classes = tuple(getattr(dataset, "classes", ())) or tuple(str(i) for i in range(0 if labels is None else int(labels.max()) + 1))
    content = f"{name} {sorted(part.items())} {len(dataset)}".encode() if pixels is None else np.ascontiguousarray(pixels).tobytes()
    names = [f"{name} {i}" for i in range(len(dataset))]
    return ImageSource(names, labels, classes, FromDataset(dataset), hashlib.sha256(content).hexdigest())


def torchvision_folder(dataset, where: Path) -> ImageSource:
    """A torchvision set that is a class folder on disk (EuroSAT), by its list of files."""
    paths = [Path(path) for path, _ in dataset.samples]
    stamp = hashlib.sha256("\n".join(f"{p.relative_to(where)} {p.stat().st_size}" for p in paths).encode())
    labels = np.array([label for _, label in dataset.samples], np.int64)
    return ImageSource([str(p.relative_to(where)) for p in paths], labels, tuple(dataset.classes), Files(paths), stamp.hexdigest())


def split(source: ImageSource, share: float, held_out: bool) -> ImageSource:
    """One side of a fixed random split; the same for the same source length and share.

    Raises:
        ConfigError: too few images to hold any out.
    """
    count = max(1, round(len(source) * share))
    need(len(source) > count, "data.root", len(source), "too few images to hold some out; add images or name data.val_root")
    order = np.random.default_rng(HOLDOUT_SEED).permutation(len(source))
    return source.subset(np.sort(order[:count] if held_out else order[count:]))


def open_source(config: DataConfig, held_out: bool = False) -> ImageSource:
    """The training part of a configured source, or its held-out part.

    Raises:
        ConfigError: unknown source, missing folder or set, nothing readable.
    """
    need(config.source in SOURCES, "data.source", config.source, f"use one of {', '.join(SOURCES)}")
    if config.source == "folder":
        own_split = bool(config.val_root)
        source = folder(config.root, config.labels)
        if held_out and own_split:
            source = folder(config.val_root, config.labels).numbered_by(source.class_names)
    elif config.source == "shards":
        own_split = bool(config.val_root)
        source = shard_set(config.root, config.labels)
        if held_out and own_split:
            source = shard_set(config.val_root, config.labels, source.class_names).numbered_by(source.class_names)
    elif config.source == "digits":
        own_split, source = False, digits()
    else:
        own_split = TORCHVISION[config.source][2] is not None
        source = torchvision_set(config.source, config.root, config.download, held_out)
    if not own_split:
        source = split(source, config.val_share, held_out)
    if config.limit and not held_out and config.limit < len(source):
        source = source.subset(np.linspace(0, len(source) - 1, config.limit).round().astype(np.int64))
    if not config.labels and source.labels is not None:
        source = ImageSource(source.names, None, (), source.load, source.fingerprint)
    return source
