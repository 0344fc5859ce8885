"""Image files of noise: single ones, folders and tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet


def noise(seed: int, width: int = 16, height: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def noisy_folder(root, count: int = 12, where: str = "{i}.png", **size):
    for i in range(count):
        path = root / where.format(i=i, c="abc"[i % 3])
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(i, **size).save(path)
    return root


def images(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(root / name, "PNG")
    return root


def shard(path: Path, *members: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise(seed).save(file, "PNG")
    return file.getvalue()


def class_folder(root: Path, count: int = 23) -> Path:
    """Files of several formats, nested; one in a format that shards do not hold as it is."""
    for i in range(count):
        path = (
            root / "abc"[i % 3] / ("deep" if i % 2 else ".") / f"{i}.{('png', 'jpg', 'webp', 'jp2')[i % 4]}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(i).save(path)
    return root


LAZY, HELD = 0, 2048  # memory_mb: decode at every access, or once


def config(root, **changes) -> DataConfig:
    return DataConfig("folder", str(root), **{"image_size": 16, "channels": 3, **changes})


def everything(root, **changes) -> ImageSet:
    """All images of a folder, training and held-out part alike."""
    from d3pm_image.data.sources import folder

    chosen = config(root, **changes)
    return ImageSet(folder(root, chosen.labels), chosen)
