"""A code cache in several files, and a stand-in for the tokenizer that makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from d3pm_image.config import DataConfig
from d3pm_image.data.codes import Team, build_cache
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet

COUNT, BATCH, SHARD = 23, 5, 7  # batches that lie across the borders of files


def images(flip: bool = False, count: int = COUNT) -> ImageSet:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8), np.uint8)
    source = ImageSource(
        [str(i) for i in range(count)], np.arange(count) % 5, tuple("abcde"), Arrays(pixels), "f"
    )
    return ImageSet(source, DataConfig("folder", "x", image_size=8, channels=1, flip=flip))


class Encoder:
    """A stand-in for a tokenizer; counts its batches, and can fail at one."""

    def __init__(self, fails_at: int = -1):
        self.batches, self.fails_at = 0, fails_at

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        if self.batches == self.fails_at:
            raise OSError("no space left")
        self.batches += 1
        return batch[:, 0, ::4, ::2].long() * 200


def build(
    place: Path,
    encoder=None,
    shard: int = SHARD,
    batch: int = BATCH,
    flip: bool = False,
    team: Team | None = None,
) -> Path:
    return build_cache(
        images(flip), encoder or Encoder(), "k", place, batch, quiet=True, team=team, shard_images=shard
    )


def contents(place: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in place.iterdir()}


FILES = [f"codes-{number:05d}.npy" for number in range(4)]
