"""Image sets that torchvision knows, read from the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..cache_folder import cache_root, default_root
from ..config import ConfigError
from .identity import identify
from .image_source import Files, FromDataset, ImageSource

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


def labels_of(dataset: Any) -> np.ndarray | None:
    """Class numbers under whichever name a torchvision set keeps them, int64."""
    names = (name for name in ("targets", "labels", "_labels") if getattr(dataset, name, None) is not None)
    name = next(names, "")
    return np.asarray(getattr(dataset, name), np.int64) if name else None


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
                "data.download",
                True,
                f"{name} could not be fetched into {where} ({' '.join(str(error).split())[:200]})",
            ) from error
        raise ConfigError(
            "data.root",
            str(where),
            f"{name} is not there; add --data.download true, or name the folder that holds it",
        ) from error
    pixels = getattr(dataset, "data", None)
    files = getattr(dataset, "samples", None)
    if files is not None:
        return torchvision_folder(dataset, where)
    labels = labels_of(dataset)
    classes = tuple(getattr(dataset, "classes", ())) or tuple(
        str(i) for i in range(0 if labels is None else int(labels.max()) + 1)
    )
    content = (
        f"{name} {sorted(part.items())} {len(dataset)}".encode()
        if pixels is None
        else np.ascontiguousarray(pixels).tobytes()
    )
    names = [f"{name} {i}" for i in range(len(dataset))]
    return ImageSource(
        names,
        labels,
        classes,
        FromDataset(dataset),
        hashlib.sha256(content).hexdigest(),
        place=f"{name} in {where}",
    )


def torchvision_folder(dataset: Any, where: Path) -> ImageSource:
    """A torchvision set that is a class folder on disk (EuroSAT), by its list of files."""
    paths = [Path(path) for path, _ in dataset.samples]
    names = [str(p.relative_to(where)) for p in paths]

    def former(stats: Sequence[os.stat_result]) -> str:
        lines = (f"{name} {stat.st_size}" for name, stat in zip(names, stats, strict=True))
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    identity = identify(paths, names, former, cache_root())
    labels = np.array([label for _, label in dataset.samples], np.int64)
    return ImageSource(
        names, labels, tuple(dataset.classes), Files(paths), identity.fingerprint, identity, place=str(where)
    )
