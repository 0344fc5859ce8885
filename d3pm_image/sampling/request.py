"""What a user asks of a sampler besides the codes themselves: settings, seeds, how many images at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import SamplerConfig, need
from ..diffusion import Process
from ..types import Denoiser, Grid
from .loop import Watch, sample
from .state import ImageStreams, as_seeds, whole_number


@dataclass(frozen=True)
class Request:
    """A checked request for images that are numbered from ``first``.

    Args:
        config: Sampler and its controls.
        seed: One seed, under which image i is the same whatever the number of images; or one for each image, which is then the
            image that the seed gives as number 0.
        batch_size: Images in one network call.
        first: Number of the first image.
        watch: Called with a :class:`~d3pm_image.sampling.Frame` before the first step of every batch and after each.

    Raises:
        ConfigError: negative seeds or numbers, or other than whole ones; batches of less than an image.
    """

    config: SamplerConfig
    seed: int | Sequence[int] = 0
    batch_size: int = 64
    first: int = 0
    watch: Watch | None = None

    def __post_init__(self):
        object.__setattr__(self, "seed", as_seeds(self.seed))
        for name in ("batch_size", "first"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        seeds = [self.seed] if isinstance(self.seed, int) else list(self.seed)
        need(self.batch_size >= 1, "batch_size", self.batch_size, "use at least 1")
        need(min(seeds, default=-1) >= 0, "seed", self.seed, "give 0 or more")
        need(self.first >= 0, "first", self.first, "give 0 or more")

    def check(self, count: int) -> None:
        """Raises ConfigError where the seeds are not one, or one for each of ``count`` images."""
        fits = isinstance(self.seed, int) or len(self.seed) == count
        need(fits, "seed", self.seed, f"give one seed, or one for each of the {count} images")

    def batches(self, count: int) -> Iterator[range]:
        """Places 0..count-1 of the images, as many at a time as one network call takes."""
        return (range(start, min(start + self.batch_size, count)) for start in range(0, count, self.batch_size))

    def streams(self, places: Sequence[int], device: torch.device) -> ImageStreams:
        """Randomness of the images at some places of the request."""
        numbers = [self.first + place for place in places]
        return ImageStreams(self.seed if isinstance(self.seed, int) else [self.seed[place] for place in places], numbers, device)


def draw_codes(denoiser: Denoiser, process: Process, request: Request, labels: Tensor, no_label: int, grid: Grid) -> Tensor:
    """Codes (B, N) of new images, a batch after the other; arguments as in :func:`~d3pm_image.sampling.loop.sample`.

    Args:
        labels: (B,) int64, a class for each image that is wanted.
    """
    pieces = []
    for part in request.batches(len(labels)):
        label, streams = labels[part.start : part.stop], request.streams(part, labels.device)
        pieces.append(sample(denoiser, process, request.config, label, no_label, grid, streams, watch=request.watch))
    return torch.cat(pieces)
