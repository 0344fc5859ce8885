"""Tar shards of noise, and settings that read them."""

from __future__ import annotations

import io
from pathlib import Path

from d3pm_image.config import DataConfig
from d3pm_image.data.image_source import ImageSource
from d3pm_image.data.shards import open_shards
from helpers.image_files import noise, shard


def encoded(seed: int, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    noise(seed).save(file, kind)
    return file.getvalue()


def plain_shards(root: Path, shards: int = 3, each: int = 4) -> Path:
    """PNGs with classes 0, 1, 2, 0, … in .cls members."""
    for number in range(shards):
        indices = range(number * each, (number + 1) * each)
        pairs = [
            pair
            for i in indices
            for pair in ((f"{i:04d}.png", encoded(i)), (f"{i:04d}.cls", str(i % 3).encode()))
        ]
        shard(root / f"part-{number:03d}.tar", *pairs)
    return root


def config(root: object, **changes) -> DataConfig:
    return DataConfig("shards", str(root), **{"image_size": 16, "channels": 3, **changes})


def opened(root: object, cache: Path, **options):
    found = open_shards(str(root), cache, **options)
    return ImageSource(found.names, found.labels, found.class_names, found.load, found.fingerprint)
