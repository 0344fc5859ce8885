"""Image sets: a source, resized and converted, as batches of uint8 tensors.

Sets that fit in memory are decoded once and then cost one index operation per batch; larger ones are decoded
by loader workers. Flips and crops derive from (seed, epoch, image), so that a resumed run gets the same
images as an uninterrupted one, with any number of workers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from ..config import ConfigError, DataConfig, Tile, check, size_pair, wraps
from ..imaging import is_deep, plain
from ..pixel_range import from_levels, has_alpha
from ..seeds import entropy
from .colour import image_in_srgb
from .image_source import ImageSource
from .on_device import Held, fits
from .unused import BROKEN, ending_of

LOOKED_AT = 500  # images before the fraction of unreadable ones is meaningful


def fit(
    image: Image.Image, size: tuple[int, int], crop: str, place: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """Resize to ``size`` (height, width); unless ``crop`` is stretch, keep the aspect ratio and crop at
    ``place`` (fractions of the spare height and width). Pillow resizes LA and RGBA premultiplied."""
    height, width = size
    if image.size == (width, height):
        return image
    if crop == "stretch":
        return image.resize((width, height), Image.Resampling.BICUBIC)
    scale = max(height / image.height, width / image.width)
    box_w, box_h = width / scale, height / scale
    left, top = max(0.0, (image.width - box_w) * place[1]), max(0.0, (image.height - box_h) * place[0])
    return image.resize(
        (width, height),
        Image.Resampling.BICUBIC,
        box=(left, top, min(left + box_w, image.width), min(top + box_h, image.height)),
    )


def to_array(image: Image.Image) -> np.ndarray:
    """uint8 (C, h, w) of an L, LA, RGB or RGBA image; hidden colour, under alpha 0, becomes 0."""
    array = np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        array = np.where(array[..., -1:] == 0, 0, array).astype(np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def coins(seed: int, epoch: int, indices: np.ndarray, columns: int) -> np.ndarray:
    """Uniform numbers (len(indices), columns) in [0, 1) that depend only on (seed, epoch, index)."""
    return np.stack([np.random.default_rng(entropy(seed, epoch, int(i))).random(columns) for i in indices])


def rolled(images: Tensor, shares: np.ndarray, tile: Tile) -> Tensor:
    """Images (B, …, h, w), or grids of codes, each moved along the tiled axes by its shares (B, 2) in [0, 1)
    of the height and the width, in whole pixels or cells; what leaves at one border enters at the other."""
    sides = np.array(images.shape[-2:]) * wraps(tile)
    moves = (shares * sides).astype(int).tolist()
    return torch.stack([one.roll(move, (-2, -1)) for one, move in zip(images, moves, strict=True)])


def check_readable(unreadable: int, images: int, config: DataConfig) -> None:
    """Raises ConfigError if more than the allowed fraction of the images cannot be read."""
    hint = (
        f"{unreadable} of {images} images cannot be decoded; repair them (they are named above), or raise"
        " data.max_unreadable"
    )
    check(unreadable <= config.max_unreadable * images, "data.max_unreadable", config.max_unreadable, hint)


def count_unreadable(
    batches: Iterable[dict[str, Tensor]], order: Iterable[list[int]], images: ImageSet
) -> Iterator[dict[str, Tensor]]:
    """The batches, as long as at most the allowed fraction of their images are replacements for unreadable
    ones.

    Args:
        batches: Of ``images``, in the order of the keys in ``order``.

    Raises:
        ConfigError: there are more, counted from the first ``LOOKED_AT`` images on.
    """
    missing, seen = 0, 0
    for keys, batch in zip(order, batches, strict=True):
        missing += int((batch["index"] != torch.tensor(keys) % len(images)).sum())
        seen += len(keys)
        if seen >= LOOKED_AT:
            check_readable(missing, seen, images.config)
        yield batch


class ImageSet(Dataset):
    """Images as uint8 (C, h, w) with a label (-1 without classes), by position in an endless training order.

    A key is a global position ``epoch * len(self) + index``: the epoch selects the random flip, crop and
    roll, so a key always gives the same image. With ``augment=False`` only the index counts and images are
    plain.

    ``listed`` is the source as it was given, ``source`` without what could not be decoded.

    Raises:
        ConfigError: no readable image at all.
    """

    def __init__(self, source: ImageSource, config: DataConfig, augment: bool = False, seed: int = 0):
        self.size, self.config, self.seed = size_pair(config.image_size), config, seed
        self.flip = augment and config.flip
        self.crop_randomly = augment and config.fitting == "random"
        self.roll = augment and config.tile != "none"
        self.listed = self.source = source
        self.pixels: Tensor | None = None
        total = len(source) * config.channels * self.size[0] * self.size[1]
        if not self.crop_randomly and total <= config.memory_mb * 2**20:
            self.hold_in_memory()

    def __len__(self) -> int:
        return len(self.source)

    def decode(self, index: int, place: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
        """One image at the set's size and channels, uint8 (C, h, w); ``place`` as in :func:`fit`."""
        image, white = self.source.load(index), self.config.white
        if "icc_profile" in image.info:
            image = image_in_srgb(image, self.source.names[index], white, has_alpha(self.config.channels))
        return to_array(
            fit(plain(image, self.config.channels, white=white), self.size, self.config.fitting, place)
        )

    def preparation(self) -> dict[str, object]:
        """Newer settings that change the pixels of some of these images; empty for most sets."""
        headers, white = self.source.headers, self.config.white
        deep = {mode for mode in headers.modes if is_deep(mode)}
        as_before = white <= 0 or (white == 65535 and all(mode.startswith("I;16") for mode in deep))
        found: dict[str, object] = {} if not deep or as_before else {"white": white}
        return found | ({"colour": "sRGB"} if headers.foreign else {})

    def hold_in_memory(self) -> None:
        """Decode everything once; report and leave out what cannot be decoded."""

        with ThreadPoolExecutor(4) as pool:
            arrays = list(
                pool.map(lambda index: self.source.attempt(self.decode, index), range(len(self.source)))
            )
        errors = {i: found for i, found in enumerate(arrays) if isinstance(found, Exception)}
        lost = [self.source.names[i] for i in errors]
        for name, error in zip(lost, errors.values(), strict=True):
            warnings.warn(f"{name}: cannot decode; left out ({type(error).__name__}: {error})", stacklevel=2)
        good = np.array([i for i in range(len(arrays)) if i not in errors], np.int64)
        check(
            len(good) > 0, "data.root", self.config.root, "not one image could be decoded; check the folder"
        )
        check_readable(len(errors), len(arrays), self.config)
        if errors:
            unused = self.source.unused.plus((name, BROKEN, ending_of(name)) for name in lost)
            self.source = replace(self.source.subset(good), unused=unused)
        self.pixels = torch.from_numpy(
            np.stack([found for found in arrays if not isinstance(found, Exception)])
        )

    def __getitems__(self, keys: list[int]) -> dict[str, Tensor]:
        """Batch {images: uint8 (B, C, h, w), labels: int64 (B,), index: int64 (B,)} at the given positions;
        another index than the requested one is that of an image that replaces an unreadable one."""
        positions = np.asarray(keys, np.int64)
        epoch, index = positions // len(self), positions % len(self)
        random = np.full((len(keys), 3), 0.5)
        if self.flip or self.crop_randomly or self.roll:
            random = np.concatenate(
                [coins(self.seed, int(e), index[i : i + 1], 3) for i, e in enumerate(epoch)]
            )
        if self.pixels is not None:
            images = self.pixels[torch.from_numpy(index)]
        else:
            read = [self.decode_or_next(int(i), (r[0], r[1])) for i, r in zip(index, random, strict=True)]
            images, index = (
                torch.from_numpy(np.stack([pixels for pixels, _ in read])),
                np.array([i for _, i in read], np.int64),
            )
        if self.flip:
            mirrored = torch.from_numpy(random[:, 2] < 0.5)
            images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
        if self.roll:
            images = rolled(images, random[:, :2], self.config.tile)
        labels = np.full(len(keys), -1) if self.source.labels is None else self.source.labels[index]
        return {
            "images": images,
            "labels": torch.from_numpy(np.asarray(labels, np.int64)),
            "index": torch.from_numpy(index),
        }

    def on_device(self, device: torch.device) -> Held | None:
        """All images on a device that keeps its data and has space for them, where they are in memory and are
        neither cropped nor rolled at random; otherwise None."""
        if self.pixels is None or self.roll or not fits(self.pixels.nbytes, device):
            return None
        labels = np.full(len(self), -1) if self.source.labels is None else self.source.labels
        sent = torch.from_numpy(np.array(labels, np.int64)).to(device)
        return Held("images", self.pixels.to(device), sent, self.seed, "left-right" if self.flip else "none")

    def read(self, indices: list[int], device: torch.device | str = "cpu") -> Tensor:
        """Images (b, C, h, w) as float32 in [0, 1] on a device."""
        return from_levels(self.__getitems__(indices)["images"].to(device))

    def decode_or_next(self, index: int, place: tuple[float, float]) -> tuple[np.ndarray, int]:
        """Decode an image; one that cannot be read is reported and replaced by the next readable one.

        Returns:
            Pixels and the index of the image that they belong to.
        """
        for candidate in (*range(index, len(self)), *range(index)):
            found = self.source.attempt(
                lambda i: self.decode(i, place if self.crop_randomly else (0.5, 0.5)), candidate
            )
            if not isinstance(found, Exception):
                return found, candidate
            name = self.source.names[candidate]
            warnings.warn(
                f"{name}: cannot decode; using the next image instead ({type(found).__name__})", stacklevel=2
            )
        raise ConfigError("data.root", self.config.root, "not one image could be decoded; check the folder")
