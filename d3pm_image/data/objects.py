"""Images in memory: arrays, tensors, lists, torch data sets and Hugging Face data sets as an
:class:`ImageSource`.

An object has no path by which a later run could find it, so it is identified by its contents: all images are
read once and hashed. A run that is resumed with the same images continues, in whatever object they are.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from tqdm import tqdm

from ..config import ConfigError, DataConfig, check
from .conversion import as_image, as_levels, kind_of
from .identity import Identity
from .image_source import Arrays, ImageSource

IMAGE_NAMES = ("image", "img", "images", "pixel_values")
LABEL_NAMES = ("label", "labels", "class", "fine_label", "target")
HELD_OUT_NAMES = ("validation", "valid", "val", "test")
SHOWN_FROM = 5000
"""Images from which the reading has a progress bar."""
IMAGE_TYPES = (Image.Image, np.ndarray, torch.Tensor, str, os.PathLike)
AGAIN = "augment by data.flip and data.crop, and give the images as they are"


class Items(Protocol):
    """An object with a length and items by number: an array, a tensor, a list, a data set of torch or Hugging
    Face."""

    def __len__(self) -> int:
        """How many images."""

    def __getitem__(self, index: Any, /) -> Any:
        """An image, a pair (image, label), or a dictionary with both."""


Data = str | os.PathLike[str] | DataConfig | Mapping[str, Any] | Items | Dataset[Any]
"""Image arguments of the training functions: a path or name, settings, or the images themselves."""


@dataclass(frozen=True)
class GivenImages:
    """Images in memory in place of a path.

    Args:
        training: Images that train; where ``held_out`` is None, a share of them is held out as from a folder.
        held_out: Images that validate.
    """

    training: ImageSource
    held_out: ImageSource | None = None

    def part(self, held_out: bool) -> ImageSource:
        """The training images, or those held out with the class numbers of the training images."""
        if not held_out or self.held_out is None:
            return self.training
        return self.held_out.numbered_by(self.training.class_names)


def is_splits(data: Any) -> bool:
    """Whether an object holds several Hugging Face data sets by name (a DatasetDict)."""
    return (
        isinstance(data, Mapping) and bool(data) and all(hasattr(part, "features") for part in data.values())
    )


def given_images(data: Any, held_out: Any = None, field: str = "data") -> GivenImages:
    """The images of an object, and those of a second one that are held out.

    Args:
        data: An array or tensor of all images, a pair (images, labels), a list, a torch data set, a Hugging
            Face data set, or several of these by name (train and validation or test).

    Raises:
        ConfigError: none of these, or images that cannot be used.
    """
    if is_splits(data):
        name = "train" if "train" in data else next(iter(data))
        beside = [data[split] for split in HELD_OUT_NAMES if split in data and split != name]
        data, held_out = data[name], held_out if held_out is not None or not beside else beside[0]
    return GivenImages(source_of(data, field), None if held_out is None else source_of(held_out, field))


def source_of(data: Any, field: str = "data") -> ImageSource:
    """The images of one object; see :func:`given_images`."""
    labels = None
    if isinstance(data, tuple):
        pair = len(data) == 2 and all(hasattr(part, "__len__") for part in data)
        check(pair, field, kind_of(data), "give a pair (images, labels), or a list of images")
        data, labels = data
        hint = f"the labels of {len(data)} images: give one for each"
        check(len(labels) == len(data), field, len(labels), hint)
    hint = "give a path, an array (n, h, w[, c]), a pair (images, labels), or a data set with a length"
    listed = hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, (str, bytes))
    check(listed, field, kind_of(data), hint)
    check(len(data) > 0, field, kind_of(data), "holds no image")
    if hasattr(data, "features") and hasattr(data, "column_names"):
        return from_columns(data, labels, field)
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return from_array(data, labels, field)
    return from_items(data, labels, field)


def from_array(data: np.ndarray | torch.Tensor, labels: Any, field: str) -> ImageSource:
    """All images in one array (n, h, w[, c]) or one tensor (n[, c], h, w), not copied where they are
    uint8."""
    pixels = as_levels(data, field, many=True)
    digest = hashlib.sha256(f"array {pixels.shape} {pixels.dtype}".encode())
    for image in pixels:
        digest.update(np.ascontiguousarray(image).data)
    return made(
        len(pixels),
        Arrays(pixels),
        digest.hexdigest(),
        kind_of(data),
        labels,
        getattr(data, "classes", ()),
        field,
    )


class FromItems:
    """Loads the i-th image of a list or data set, by one thread at a time: data sets that read one open file
    are not made for several."""

    def __init__(self, items: Any, field: str):
        self.items, self.field, self.lock = items, field, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"items": self.items, "field": self.field}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def item(self, index: int) -> tuple[Image.Image, Any]:
        """An image and its label, or None."""
        with self.lock:
            found = self.items[index]
        label = None
        if isinstance(found, Mapping):
            image, name = (
                named(found, IMAGE_NAMES, self.field),
                next((n for n in LABEL_NAMES if n in found), None),
            )
            found, label = image, None if name is None else found[name]
        elif isinstance(found, (tuple, list)) and len(found) > 1 and isinstance(found[0], IMAGE_TYPES):
            found, label = found[:2]
        return as_image(found, self.field), label

    def __call__(self, index: int) -> Image.Image:
        return self.item(index)[0]


def named(values: Mapping[str, Any], names: tuple[str, ...], field: str) -> Any:
    """The first of some values that is there. Raises ConfigError for none."""
    name = next((name for name in names if name in values), None)
    check(name is not None, field, sorted(map(str, values)), f"no image among these; name it {names[0]}")
    return values[name]  # type: ignore[index]


def from_items(data: Any, labels: Any, field: str) -> ImageSource:
    """A list of images, or a torch data set; read once for contents and labels."""
    load, digest, found = FromItems(data, field), hashlib.sha256(b"items"), list[Any]()
    first = load(0)
    hint = f"gives another image each time it is asked for the same one; {AGAIN}"
    check(same_image(first, load(0)), field, kind_of(data), hint)
    for index in numbers(len(data)):
        image, label = load.item(index)
        digest.update(f"{image.mode} {image.size}".encode())
        digest.update(image.tobytes())
        found.append(label)
    if labels is None and not any(label is None for label in found):
        labels = found
    return made(
        len(data), load, digest.hexdigest(), kind_of(data), labels, getattr(data, "classes", ()), field
    )


def same_image(one: Image.Image, other: Image.Image) -> bool:
    """Whether two images have the same mode, size and pixels."""
    return (one.mode, one.size) == (other.mode, other.size) and one.tobytes() == other.tobytes()


def numbers(count: int) -> Iterator[int]:
    """0..count-1, with a progress bar where there are many, on the first process."""
    quiet = count < SHOWN_FROM or os.environ.get("RANK", "0") != "0"
    yield from tqdm(range(count), desc="reading the images once", unit="image", disable=quiet, leave=False)


@dataclass(frozen=True)
class FromColumn:
    """Loads the i-th image of a Hugging Face data set."""

    dataset: Any
    column: str
    field: str

    def __call__(self, index: int) -> Image.Image:
        return as_image(self.dataset[index][self.column], self.field)


def from_columns(data: Any, labels: Any, field: str) -> ImageSource:
    """A Hugging Face data set: its image column, and the labels' if there is one; known by the encoded
    images."""
    features = dict(data.features)
    column = next((name for name, kind in features.items() if type(kind).__name__ == "Image"), None)
    column = column or next((name for name in IMAGE_NAMES if name in features), None)
    hint = "none of these columns holds images; rename it to image"
    check(column is not None, field, sorted(features), hint)
    assert column is not None
    classes = next((name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"), None)
    classes = classes or next((name for name in LABEL_NAMES if name in features), None)
    names = tuple(getattr(features[classes], "names", None) or ()) if classes else ()
    if labels is None and classes is not None:
        labels = list(data[classes])
        labels = None if any(label is None for label in labels) else labels
    alone = data.select_columns([column]) if hasattr(data, "select_columns") else data
    digest = hashlib.sha256(b"columns")
    for part in encoded(alone, column, field):
        digest.update(hashlib.sha256(part).digest())
    return made(
        len(data),
        FromColumn(alone, column, field),
        digest.hexdigest(),
        f"{kind_of(data)}, column {column}",
        labels,
        names,
        field,
    )


def encoded(data: Any, column: str, field: str) -> Iterator[bytes]:
    """The bytes of each image as the data set holds them, or its pixels where it has no files."""
    kind = data.features[column]
    raw = (
        data.cast_column(column, type(kind)(decode=False))
        if type(kind).__name__ == "Image" and hasattr(data, "cast_column")
        else None
    )
    for index in numbers(len(data)):
        item = None if raw is None else raw[index][column]
        if isinstance(item, Mapping) and (item.get("bytes") is not None or item.get("path")):
            yield item["bytes"] if item.get("bytes") is not None else Path(item["path"]).read_bytes()
        else:
            image = as_image(data[index][column], field)
            yield f"{image.mode} {image.size}".encode() + image.tobytes()


def made(count: int, load: Any, digest: str, place: str, labels: Any, names: Any, field: str) -> ImageSource:
    """A source of so many images."""
    found, classes = (None, ()) if labels is None else numbered(labels, tuple(map(str, names)), field)
    files = hashlib.sha256(f"{count} images".encode()).hexdigest()
    return ImageSource(
        [f"image {i}" for i in range(count)],
        found,
        classes,
        load,
        digest,
        Identity(digest, "", files, digest),
        place=place,
    )


def numbered(labels: Any, names: tuple[str, ...], field: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class numbers int64 (n,) and names of the classes: the given names, or the numbers or texts that occur.

    Raises:
        ConfigError: labels that are neither whole numbers nor texts, or numbers without a name.
    """
    try:
        values = np.asarray(
            labels.cpu()
            if isinstance(labels, torch.Tensor)
            else [getattr(v, "item", lambda v=v: v)() for v in labels]
        )
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            field, "labels", f"give one whole number or text for each image ({error})"
        ) from error
    hint = "give whole numbers or texts"
    check(
        values.ndim == 1 and values.dtype.kind in "iuUb", field, f"labels {values.dtype} {values.shape}", hint
    )
    if names and values.dtype.kind != "U":
        inside = int(values.min()) >= 0 and int(values.max()) < len(names)
        hint = f"the data set names {len(names)} classes"
        check(inside, field, f"labels {values.min()} to {values.max()}", hint)
        return values.astype(np.int64), names
    occurring, places = np.unique(values, return_inverse=True)
    return places.reshape(-1).astype(np.int64), tuple(str(value) for value in occurring.tolist())
