"""Where images come from."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ..errors import check
from .worded import worded

MAX_SIDE = 4096  # pixels
Tile = Literal["none", "x", "y", "both"]
"""Along which axes images repeat: x is beside themselves, y below themselves."""


def wraps(tile: Tile) -> tuple[bool, bool]:
    """Whether rows go on at the top below the bottom, and columns at the left beyond the right border."""
    return tile in ("y", "both"), tile in ("x", "both")


KINDS = {1: "grey", 2: "transparent grey", 3: "colour", 4: "transparent colour"}
"""What images are called by their channels."""


def size_pair(image_size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """(height, width) in pixels from one number or two. JSON and YAML bring tuples back as lists."""
    return (
        (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))
    )


COMMON_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


def implied_source(root: str) -> str:
    """The source that a root implies if none is named: the embedded digits without a root; shards for a tar
    file, a pattern or range of them, or a folder that holds tar files and no images; else folder."""
    if not root:
        return "digits"
    place = Path(root).expanduser()
    if not place.is_dir():
        return (
            "shards" if root.lower().endswith(".tar") or re.search(r"[*?]|\{\d+\.\.\d+\}", root) else "folder"
        )
    if not any(path.suffix == ".tar" and not path.name.startswith(".") for path in place.iterdir()):
        return "folder"
    names = (name for _, _, files in os.walk(place) for name in files)
    return "folder" if any(name.lower().endswith(COMMON_ENDINGS) for name in names) else "shards"


def check_tile(tile: Any) -> Tile:
    """The axes as they are. Raises ConfigError for anything but none, x, y or both."""
    check(tile in get_args(Tile), "data.tile", tile, "use none, x, y or both")
    return cast("Tile", tile)


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they reach the network.

    Args:
        source: Empty for what root implies: folder, or shards if it holds tar files; digits without a root.
            digits (1,797 handwritten digits, embedded), folder, shards (tar files in the webdataset layout),
            huggingface (see name), python (images in memory, see docs/python.md), or a torchvision
            set: fashion_mnist, mnist, kmnist, cifar10, cifar100, eurosat, flowers102, stl10, svhn, food101,
            oxford_iiit_pet.
        name: With huggingface: a folder of parquet, arrow or image files, one that save_to_disk wrote, or a
            data set of the hub (OWNER/NAME); pip install 'd3pm-image[huggingface]'.
        root: Folder of the images; folder, pattern or range of shards ('train-{000000..000099}.tar'); or
            folder of the torchvision set (default ~/.cache/d3pm_image/datasets).
        val_root: Folder (or shards) of the held-out images; without it, val_share of the images of folders
            and shards are held out.
        val_share: Fraction of images held out if the source has no split of its own.
        download: Let torchvision or huggingface download the set if it is not on this machine.
        image_size: Side in pixels, or height and width as [h, w]; 0 in stage two means the tokenizer's own.
        channels: 1 for grey, 3 for colour, 2 and 4 with alpha as well; images are converted, and transparency
            is laid on white in 1 and 3. 0 in stage two means the tokenizer's own.
        crop: center and random cut the image to the shape after resizing; stretch ignores the aspect ratio.
        tile: Axes along which the images repeat without a seam: x (beside themselves), y (below themselves),
            both or none. The model then works on a torus, and what it makes repeats as well. Such images are
            stretched, for a cut one would not repeat, and rolled at random where others would be cropped;
            none in stage two means the tokenizer's own.
        flip: Mirror images left to right at random (not for digits or letters).
        labels: Use class labels if the source has them (class folders, torchvision targets): true or false.
            For a folder also a CSV file (LABELS.csv, or LABELS.csv:group,style for some of its columns) whose
            first column has file names and each further one a set of labels; or names for its levels of
            subfolders, such as group/style.
        limit: Use only this many training images, spread over the set; 0 means all.
        white: Level that means white in images of more than 8 bits per level (16-bit, floating point), one
            for the whole set. 0 estimates it, and the run records it; -1 scales each image by its own mode
            and largest level, as before version 0.2.
        workers: Loader processes of stage one for sets too large to be held in memory.
        max_unreadable: Fraction of the images that may be unreadable; such images are named and left out, or
            replaced by the next one.
        same: With resume: accept images with other contents than those that the run began with.
        memory_mb: Sets whose decoded images fit in this many megabytes are decoded once and held in memory.
    """

    source: str = ""
    root: str = ""
    val_root: str = ""
    val_share: float = 0.1
    download: bool = False
    image_size: int | tuple[int, int] = worded(0, "the tokenizer's own")
    channels: Literal[0, 1, 2, 3, 4] = worded(0, "the tokenizer's own")
    crop: Literal["center", "random", "stretch"] = "center"
    flip: bool = False
    labels: bool | str = True
    limit: int = worded(0, "all")
    white: float = worded(0.0, "estimated")
    workers: int = 2
    max_unreadable: float = 0.2
    memory_mb: int = 2048
    same: bool = False
    name: str = ""
    tile: Tile = "none"

    def __post_init__(self) -> None:
        for name in ("source", "root", "val_root"):
            text = isinstance(getattr(self, name), str)
            check(text, f"data.{name}", getattr(self, name), "give a text, such as the name of a folder")
        height, width = size_pair(self.image_size)
        hint = "give a positive side in pixels, such as 64 or [48, 64]"
        check(min(height, width) >= 1 or self.image_size == 0, "data.image_size", self.image_size, hint)
        hint = f"use at most {MAX_SIDE} pixels per side"
        check(max(height, width) <= MAX_SIDE, "data.image_size", self.image_size, hint)
        hint = "use 1 for grey, 3 for colour, or 2 and 4 for these with alpha"
        check(self.channels in (0, 1, 2, 3, 4), "data.channels", self.channels, hint)
        hint = "use center, random or stretch"
        check(self.crop in ("center", "random", "stretch"), "data.crop", self.crop, hint)
        check_tile(self.tile)
        hint = "give a share between 0 and 1, such as 0.1"
        check(0 < self.val_share < 1, "data.val_share", self.val_share, hint)
        text = isinstance(self.labels, str)
        hint = "give true or false; files of labels and levels of folders are for data.source folder"
        check(not text or self.source in ("", "folder"), "data.labels", self.labels, hint)
        check(
            not text or bool(str(self.labels).strip()),
            "data.labels",
            self.labels,
            "give true, false, or a CSV file",
        )
        check(self.limit >= 0, "data.limit", self.limit, "give 0 for all images, or a positive number")
        check(self.workers >= 0, "data.workers", self.workers, "give 0 (load in the main process) or more")
        hint = "give a share in [0, 1], such as 0.2"
        check(0 <= self.max_unreadable <= 1, "data.max_unreadable", self.max_unreadable, hint)
        check(self.memory_mb >= 0, "data.memory_mb", self.memory_mb, "give 0 (never hold in memory) or more")
        scale = math.isfinite(self.white) and (self.white >= 0 or self.white == -1)
        hint = "give 0 (estimated), -1 (each image by its own), or the level of white, such as 4095"
        check(scale, "data.white", self.white, hint)
        embedded = (
            "the digits are embedded: leave data.source out (then the root is a folder or shards), or leave"
            " out the root"
        )
        check(self.source != "digits" or not self.root, "data.root", self.root, embedded)
        lone = "held-out images of their own go with data.root, a folder or shards; leave it out"
        taken = self.source in ("folder", "shards") or (not self.source and bool(self.root))
        check(taken or not self.val_root, "data.val_root", self.val_root, lone)
        hub = self.source == "huggingface"
        hint = "is read with data.source huggingface alone; leave it out"
        check(hub or not self.name, "data.name", self.name, hint)
        hint = "name a folder of parquet or arrow files, or a data set of the hub (OWNER/NAME)"
        check(not hub or bool(self.name), "data.name", "", hint)
        hint = "is not read with data.source huggingface; give the folder as data.name"
        check(not hub or not self.root, "data.root", self.root, hint)
        named = self.source not in ("folder", "shards") or bool(self.root)
        check(named, "data.root", self.root, f"name the folder of images when data.source is {self.source}")

    @property
    def fitting(self) -> Literal["center", "random", "stretch"]:
        """How images get their shape: ``crop``, or for images that repeat ``stretch``."""
        return self.crop if self.tile == "none" else "stretch"

    def resolved(self) -> DataConfig:
        """The same with a source: the one that is named, or that the root implies."""
        return self if self.source else replace(self, source=implied_source(self.root))
