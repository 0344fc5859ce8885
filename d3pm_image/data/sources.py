"""Where images come from: folders, tar shards, torchvision sets and the embedded digits behind one small record.

A source lists its images and can load the i-th as a Pillow image; it knows nothing of sizes or batches. Each
has a fingerprint that changes when the data changes, which ties cached codes to the images they came from.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ..config import ConfigError, DataConfig, need
from ..imaging import open_image, read_header
from ..printable import printable
from .failures import decoded_or_error
from .headers import HeaderReader, Headers
from .identity import Identity, identify, shared_images
from .listing import list_images
from .shards import class_names_beside, find_shards, open_shards
from .unused import BROKEN, STRAY, Unused

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
T = TypeVar("T")


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
        identity: That digest, and others that tell what differs where two are not alike.
        unused: What lies there besides and is not used.
        headers: What the images' headers say, where they were read for the list; else see :func:`~d3pm_image.data.headers.headers_of`.
        place: Folder, pattern or name, for messages.
    """

    names: Sequence[str]
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    fingerprint: str
    identity: Identity | None = None
    unused: Unused = field(default_factory=Unused)
    headers: Headers | None = None
    place: str = ""

    @property
    def known_as(self) -> Identity:
        """All digests of the source; of one whose pixels are embedded the fingerprint alone."""
        return self.identity or Identity(self.fingerprint)

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
        part = self.known_as.part(chosen.tobytes())
        labels = None if self.labels is None else self.labels[chosen]
        names = [self.names[i] for i in chosen] if isinstance(self.names, list) else ChosenNames(self.names, chosen)
        headers = self.headers
        if headers is not None:
            among = {index: place for place, index in enumerate(chosen.tolist())} if headers.deep else {}
            headers = replace(headers, deep=tuple(among[i] for i in headers.deep if i in among))
        load = Chosen(self.load, chosen)
        return replace(self, names=names, labels=labels, load=load, headers=headers, fingerprint=part.fingerprint, identity=part)

    def read(self, index: int) -> bytes:
        """An image's bytes as they lie on the disk; nothing of sources that have none. Raises OSError."""
        return bytes_of(self.load, index)

    def attempt(self, decode: Callable[[int], T], index: int) -> T | Exception:
        """What ``decode`` makes of an image, or the error that says that it cannot be decoded; the system's errors are raised."""
        return decoded_or_error(lambda: decode(index), lambda: self.read(index), lambda: self.names[index])


def bytes_of(load: Any, index: int) -> bytes:
    """Bytes of the i-th image of a loader, through :class:`Chosen`."""
    while isinstance(load, Chosen):
        load, index = load.load, int(load.chosen[index])
    if isinstance(load, Files):
        return load.paths[index].read_bytes()
    return load.read(index) if hasattr(load, "read") else b""


def default_root() -> Path:
    """Folder of torchvision sets: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image, then datasets."""
    return cache_root() / "datasets"


def cache_root() -> Path:
    """Folder of everything that is cached: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image.

    Raises:
        ConfigError: no such variable, and no home folder, or one that cannot be written (docker --user 12345).
    """
    if named := os.environ.get("D3PM_IMAGE_CACHE"):
        return Path(named)
    mend = "set D3PM_IMAGE_CACHE to a folder of yours (for codes also --cache)"
    try:
        place = Path.home() / ".cache" / "d3pm_image"
    except RuntimeError:
        raise ConfigError("cache", "", f"no home folder is known to keep it in; {mend}") from None
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    need(there == place or os.access(there, os.W_OK), "cache", str(place), f"cannot be made; {mend}")
    return place


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
    return ImageSource(names, labels.astype(np.int64), tuple("0123456789"), Arrays(pixels), digest, place="the digits of scikit-learn")


def folder(root: str | Path, use_labels: bool = True) -> ImageSource:
    """Every image below ``root``, nested or flat, of the formats of :data:`~d3pm_image.image_files.FORMATS`; links to folders are followed.
    The first level of subfolders gives the classes; images that lie beside two class folders or more, and are fewer than those in them,
    are left out. Files whose header cannot be read are reported and left out.

    Raises:
        ConfigError: no such folder, or nothing readable in it. OSError: it cannot be read.
    """
    root = Path(root).expanduser()
    need(root.is_dir(), "data.root", str(root), "no such folder; name a folder of images")
    listing = list_images(root)
    reader, tried, broken = HeaderReader(), list[Path](), list[Path]()
    beside = set(stray(listing.files)) if use_labels else set()
    for path in listing.files:
        if path in beside:
            continue
        if (error := header_error(root / path, reader, len(tried))) is None:
            tried.append(path)
        else:
            text = f"{printable(root / path, 0)}: not a readable image, left out ({type(error).__name__})"
            warnings.warn(text, stacklevel=2)
            broken.append(path)
    unused = listing.unused.plus((str(p), BROKEN, p.suffix.lower()) for p in broken)
    unused = unused.plus((str(p), STRAY, p.suffix.lower()) for p in sorted(beside))
    also = f"; {unused.summary()}" if unused else ""
    need(bool(tried), "data.root", str(root), f"no readable image among {len(listing.files)} image files; check the folder{also}")
    names = [text_of(path) for path in tried]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if use_labels and all(len(path.parts) > 1 for path in tried):
        labels, classes = classes_by_folder(tried)
    files = [root / path for path in tried]
    identity = identify(files, [str(path) for path in tried], lambda stats: stamp_of(tried, stats), cache_root())
    found = reader.found()
    return ImageSource(names, labels, classes, Files(files), identity.fingerprint, identity, unused, found, str(root))


def header_error(path: Path, reader: HeaderReader, number: int) -> Exception | None:
    """Look at a file's header; the error where it is no image. Raises OSError where the file cannot be read at all."""

    def look() -> None:
        with open(path, "rb") as file, read_header(file) as image:
            reader.add(number, image)

    found = decoded_or_error(look, path.read_bytes, lambda: str(path))
    return found if isinstance(found, Exception) else None


def stray(files: list[Path]) -> list[Path]:
    """Images beside the class folders that would take the classes from all others: where two folders or more hold images, and more
    of them than lie beside. They have no class and are left out."""
    loose = [path for path in files if len(path.parts) == 1]
    folders = {path.parts[0] for path in files if len(path.parts) > 1}
    return loose if len(folders) > 1 and len(loose) < len(files) - len(loose) else []


def classes_by_folder(files: list[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and names of the classes: the first folder on each path."""
    folders = sorted({path.parts[0] for path in files})
    names = tuple(text_of(name) for name in folders)
    twice = "two folders whose names look the same once bytes that are not UTF-8 are spelled out; rename one"
    need(len(set(names)) == len(names), "data.root", [n for n, k in Counter(names).items() if k > 1], twice)
    number = {name: i for i, name in enumerate(folders)}
    return np.array([number[path.parts[0]] for path in files], np.int64), names


def text_of(path: str | Path) -> str:
    """A path as a text that can be printed and written everywhere: bytes of a name that are not UTF-8 become ``\\xNN``."""
    return os.fsencode(str(path)).decode("utf-8", "backslashreplace")


def stamp_of(names: Sequence[str | Path], stats: Sequence[os.stat_result]) -> str:
    """Hex digest of names, sizes and times of files."""
    stamp = hashlib.sha256()
    for name, stat in zip(names, stats, strict=True):
        stamp.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return stamp.hexdigest()


def shard_set(root: str, use_labels: bool, class_names: tuple[str, ...] = ()) -> ImageSource:
    """The pictures of tar shards in the webdataset layout; see :func:`~d3pm_image.data.shards.open_shards`."""
    found = open_shards(root, cache_root(), use_labels, class_names)
    return ImageSource(
        found.names, found.labels, found.class_names, found.load, found.fingerprint, found.identity, found.unused, None, root
    )


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
    return ImageSource(names, labels, classes, FromDataset(dataset), hashlib.sha256(content).hexdigest(), place=f"{name} in {where}")


def torchvision_folder(dataset, where: Path) -> ImageSource:
    """A torchvision set that is a class folder on disk (EuroSAT), by its list of files."""
    paths = [Path(path) for path, _ in dataset.samples]
    names = [str(p.relative_to(where)) for p in paths]

    def former(stats: Sequence[os.stat_result]) -> str:
        lines = (f"{name} {stat.st_size}" for name, stat in zip(names, stats, strict=True))
        return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    identity = identify(paths, names, former, cache_root())
    labels = np.array([label for _, label in dataset.samples], np.int64)
    return ImageSource(names, labels, tuple(dataset.classes), Files(paths), identity.fingerprint, identity, place=str(where))


def split(source: ImageSource, share: float, held_out: bool) -> ImageSource:
    """One side of a fixed random split; the same for the same source length and share.

    Raises:
        ConfigError: too few images to hold any out.
    """
    count = max(1, round(len(source) * share))
    need(len(source) > count, "data.root", len(source), "too few images to hold some out; add images or name data.val_root")
    order = np.random.default_rng(HOLDOUT_SEED).permutation(len(source))
    return source.subset(np.sort(order[:count] if held_out else order[count:]))


def judged_by(config: DataConfig, train: ImageSource, held_out: ImageSource) -> ImageSource:
    """The held-out images of ``data.val_root`` with the class numbers of the training images; says where they are training images."""
    fault = shared_images(config.root, config.val_root, train.known_as, held_out.known_as)
    if fault and os.environ.get("RANK", "0") == "0":
        print(f"warning: data.val_root={config.val_root!r}: {fault}; name a folder of other images", file=sys.stderr)
    return held_out.numbered_by(train.class_names)


def open_source(config: DataConfig, held_out: bool = False) -> ImageSource:
    """The training part of a configured source, or its held-out part.

    Raises:
        ConfigError: unknown source, missing folder or set, nothing readable.
    """
    config = config.resolved()
    here = (
        f"; for a folder of images leave it out and give --data.root {config.source}" if Path(config.source).expanduser().is_dir() else ""
    )
    need(config.source in SOURCES, "data.source", config.source, f"use one of {', '.join(SOURCES)}{here}")
    if config.source == "folder":
        own_split = bool(config.val_root)
        source = folder(config.root, config.labels)
        if held_out and own_split:
            source = judged_by(config, source, folder(config.val_root, config.labels))
    elif config.source == "shards":
        own_split = bool(config.val_root)
        source = shard_set(config.root, config.labels)
        if held_out and own_split:
            named = class_names_beside(find_shards(config.root)) if config.labels else ()
            source = judged_by(config, source, shard_set(config.val_root, config.labels, named))
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
        source = replace(source, labels=None, class_names=())
    return source
