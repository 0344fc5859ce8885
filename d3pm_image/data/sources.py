"""Where images come from: folders, tar shards, torchvision sets and the embedded digits behind one small
record.

A source lists its images and can load the i-th as a Pillow image; it is independent of sizes and batches.
Each has a fingerprint that changes when the data changes, which ties cached codes to the images they came
from.
"""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..cache_folder import cache_root
from ..config import ConfigError, DataConfig, check
from ..image_io import read_header
from ..printable import printable
from .failures import decoded_or_error
from .headers import HeaderReader
from .huggingface import hugging_face
from .identity import identify, shared_images, stamp_of
from .image_source import Arrays, Files, ImageSource, text_of
from .label_files import labels_of
from .listing import list_images
from .objects import GivenImages
from .shards import class_names_beside, find_shards, open_shards
from .spread import spread_over
from .torchvision_sets import TORCHVISION, torchvision_set
from .unused import BROKEN, STRAY

SOURCES = ("digits", "folder", "shards", "huggingface", *TORCHVISION)
HOLDOUT_SEED = 0x5EED


def digits() -> ImageSource:
    """scikit-learn's 1,797 handwritten digits, 8×8 pixels with 17 grey levels (UCI, test part of the set)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError(
            "data.source", "digits", "needs scikit-learn; pip install 'd3pm-image[digits]'"
        ) from None
    pixels, labels = load_digits(return_X_y=True)
    pixels = np.round(pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    digest = hashlib.sha256(pixels.tobytes()).hexdigest()
    names = [f"digit {i}" for i in range(len(pixels))]
    return ImageSource(
        names,
        labels.astype(np.int64),
        tuple("0123456789"),
        Arrays(pixels),
        digest,
        place="the digits of scikit-learn",
    )


def folder(root: str | Path, use_labels: bool | str = True) -> ImageSource:
    """Every image below ``root``, nested or flat, of the formats of :data:`~d3pm_image.image_io.FORMATS`;
    links to folders are followed. The first level of subfolders gives the classes; images that lie beside two
    class folders or more, and are fewer than those in them, are left out. Files whose header cannot be read
    are reported and left out.

    Args:
        use_labels: Classes by subfolder, none, or what :func:`~d3pm_image.data.label_files.labels_of` takes.

    Raises:
        ConfigError: no such folder, or nothing readable in it; labels that cannot be read. OSError: it cannot
            be read.
    """
    root = Path(root).expanduser()
    by_folder = use_labels is True
    check(root.is_dir(), "data.root", str(root), "no such folder; name a folder of images")
    listing = list_images(root)
    reader, tried, broken = HeaderReader(), list[Path](), list[Path]()
    beside = set(stray(listing.files)) if by_folder else set()
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
    hint = f"no readable image among {len(listing.files)} image files; check the folder{also}"
    check(bool(tried), "data.root", str(root), hint)
    names = [text_of(path) for path in tried]
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    if isinstance(use_labels, str):
        labels, classes = labels_of(use_labels, tried)
    elif by_folder and all(len(path.parts) > 1 for path in tried):
        labels, classes = classes_by_folder(tried)
    files = [root / path for path in tried]
    identity = identify(
        files, [str(path) for path in tried], lambda stats: stamp_of(tried, stats), cache_root()
    )
    found = reader.found()
    return ImageSource(
        names, labels, classes, Files(files), identity.fingerprint, identity, unused, found, str(root)
    )


def header_error(path: Path, reader: HeaderReader, number: int) -> Exception | None:
    """Read a file's header; the error if it is not an image. Raises OSError where the file cannot be
    read at all."""

    def look() -> None:
        with open(path, "rb") as file, read_header(file) as image:
            reader.add(number, image)

    found = decoded_or_error(look, path.read_bytes, lambda: str(path))
    return found if isinstance(found, Exception) else None


def stray(files: list[Path]) -> list[Path]:
    """Images beside the class folders that have no class and are left out: if two folders or more have
    images, and more than there are beside them."""
    loose = [path for path in files if len(path.parts) == 1]
    folders = {path.parts[0] for path in files if len(path.parts) > 1}
    return loose if len(folders) > 1 and len(loose) < len(files) - len(loose) else []


def classes_by_folder(files: list[Path]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and names of the classes: the first folder on each path."""
    folders = sorted({path.parts[0] for path in files})
    names = tuple(text_of(name) for name in folders)
    twice = "two folders whose names look the same once bytes that are not UTF-8 are spelled out; rename one"
    check(len(set(names)) == len(names), "data.root", [n for n, k in Counter(names).items() if k > 1], twice)
    number = {name: i for i, name in enumerate(folders)}
    return np.array([number[path.parts[0]] for path in files], np.int64), names


def shard_set(root: str, use_labels: bool, class_names: tuple[str, ...] = ()) -> ImageSource:
    """The images of tar shards in the webdataset layout; see
    :func:`~d3pm_image.data.shards.open_shards`."""
    found = open_shards(root, cache_root(), use_labels, class_names)
    return ImageSource(
        found.names,
        found.labels,
        found.class_names,
        found.load,
        found.fingerprint,
        found.identity,
        found.unused,
        None,
        root,
    )


def split(source: ImageSource, share: float, held_out: bool) -> ImageSource:
    """One side of a fixed random split; the same for the same source length and share.

    Raises:
        ConfigError: too few images to hold any out.
    """
    count = max(1, round(len(source) * share))
    hint = "too few images to hold some out; add images or name data.val_root"
    check(len(source) > count, "data.root", len(source), hint)
    order = np.random.default_rng(HOLDOUT_SEED).permutation(len(source))
    return source.subset(np.sort(order[:count] if held_out else order[count:]))


def held_out_by(config: DataConfig, train: ImageSource, held_out: ImageSource) -> ImageSource:
    """The held-out images of ``data.val_root`` with the class numbers of the training images; says where they
    are training images."""
    fault = shared_images(config.root, config.val_root, train.known_as, held_out.known_as)
    if fault and os.environ.get("RANK", "0") == "0":
        print(
            f"warning: data.val_root={config.val_root!r}: {fault}; name a folder of other images",
            file=sys.stderr,
        )
    return held_out.numbered_by(train.class_names)


def open_source(config: DataConfig, held_out: bool = False, given: GivenImages | None = None) -> ImageSource:
    """The training part of a configured source, or its held-out part.

    Args:
        given: The images of ``data.source: python``, in memory, or those of huggingface if they are open
            already.

    Raises:
        ConfigError: unknown source, missing folder or set, nothing readable.
    """
    config = config.resolved()
    here = (
        f"; for a folder of images leave it out and give --data.root {config.source}"
        if Path(config.source).expanduser().is_dir()
        else ""
    )
    if config.source == "python":
        hint = "these images were given by a Python program; call it again, with data=…"
        check(given is not None, "data.source", "python", hint)
    else:
        check(
            config.source in SOURCES, "data.source", config.source, f"use one of {', '.join(SOURCES)}{here}"
        )
    if config.source == "folder":
        own_split = bool(config.val_root)
        source = folder(config.root, config.labels)
        if held_out and own_split:
            source = held_out_by(config, source, folder(config.val_root, config.labels))
    elif config.source == "shards":
        own_split = bool(config.val_root)
        source = shard_set(config.root, bool(config.labels))
        if held_out and own_split:
            named = class_names_beside(find_shards(config.root)) if config.labels else ()
            source = held_out_by(config, source, shard_set(config.val_root, bool(config.labels), named))
    elif config.source == "digits":
        own_split, source = False, digits()
    elif config.source in ("python", "huggingface"):
        images = given if given is not None else hugging_face(config)
        own_split, source = images.held_out is not None, images.part(held_out)
    else:
        own_split = TORCHVISION[config.source][2] is not None
        source = torchvision_set(config.source, config.root, config.download, held_out)
    if not own_split:
        source = split(source, config.val_share, held_out)
    if config.limit and not held_out and config.limit < len(source):
        source = source.subset(spread_over(len(source), config.limit))
    if not config.labels and source.labels is not None:
        source = replace(source, labels=None, class_names=())
    return source


def whole_source(name: str, held_out: bool = False) -> ImageSource:
    """Every image of a folder or set, nothing held out.

    Raises:
        ConfigError: no such folder or set, or no held-out part.
    """
    own = name in TORCHVISION and TORCHVISION[name][2] is not None
    hint = f"{name} has no held-out part of its own; data.val_share holds out a part in training"
    check(own or not held_out, "held_out", held_out, hint)
    if name in TORCHVISION:
        return torchvision_set(name, "", False, held_out)
    return digits() if name == "digits" else folder(name)
