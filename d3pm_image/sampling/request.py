"""A request to draw codes: sampler, settings, seeds, batch size. It is made and checked once, and passed as
one value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..config.ranges import check_batch_size, check_first, check_seed
from ..errors import check
from .base import Sampler
from .choice import flat
from .correct import check_correctable
from .samplers import SAMPLERS
from .state import DecodeState, ImageStreams, as_seeds, whole_number

if TYPE_CHECKING:
    from ..diffusion import Process
    from ..types import Grid


@dataclass(frozen=True)
class SamplerStep:
    """A decode after one step: (B, N) codes with masks, and the network calls (images) spent so far."""

    step: int
    steps: int
    x_t: Tensor
    masked: Tensor
    calls: int


Callback = Callable[[SamplerStep], None]


def default_sampler() -> Sampler:
    """Default sampler: MaskGIT's."""
    return SAMPLERS["confidence"]()


@dataclass(frozen=True)
class Request:
    """A checked request for images that are numbered from ``first``.

    Args:
        sampler: The sampler with its own settings.
        sampling: The settings that all samplers share.
        seed: One seed, under which image i is the same whatever the number of images; or one for each image,
            which is then the image that the seed gives as number 0.
        batch_size: Images in one network call.
        first: Number of the first image.
        callback: Called with a :class:`SamplerStep` before the first step of every batch and after each.

    Raises:
        ConfigError: negative or non-integer seeds or numbers; an empty batch.
    """

    sampler: Sampler = field(default_factory=default_sampler)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    seed: int | Sequence[int] = 0
    batch_size: int = 64
    first: int = 0
    callback: Callback | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_seeds(self.seed))
        for name in ("batch_size", "first"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        seeds = [self.seed] if isinstance(self.seed, int) else list(self.seed)
        check(bool(seeds), "seed", self.seed, "give one seed, or one for each image")
        check_seed(min(seeds))
        check_batch_size(self.batch_size)
        check_first(self.first)

    def values(self) -> dict[str, Any]:
        """All settings by name, as images and result files record them; see
        :func:`~d3pm_image.sampling.choice.flat`."""
        return flat(self.sampler, self.sampling)

    def check_count(self, count: int) -> None:
        """Raises ConfigError unless there is one seed, or one for each of ``count`` images."""
        fits = isinstance(self.seed, int) or len(self.seed) == count
        check(fits, "seed", self.seed, f"give one seed, or one for each of the {count} images")

    def check_fit(self, process: Process, grid: Grid, begin: float = 1.0) -> None:
        """Raises ConfigError if the sampler does not fit a process or a grid of codes (H, W)."""
        check(0 <= begin <= 1, "begin", begin, "give a noise level in [0, 1]; 1 is noise")
        self.sampler.check(process, grid[0] * grid[1], self.sampling.steps, begin)
        check_correctable(process, self.sampling.correct_steps)

    def report(self, state: DecodeState, step: int, calls: int) -> None:
        """Call the callback, if there is one, with the codes after a step."""
        if self.callback is not None:
            steps = self.sampling.steps + self.sampling.correct_steps
            self.callback(SamplerStep(step, steps, state.x_t.clone(), state.masked.clone(), calls))

    def batches(self, count: int) -> Iterator[range]:
        """Indices 0..count-1 of the images, in batches."""
        return (
            range(start, min(start + self.batch_size, count)) for start in range(0, count, self.batch_size)
        )

    def streams(self, places: Sequence[int], device: torch.device) -> ImageStreams:
        """Random streams of the images with the given indices."""
        numbers = [self.first + place for place in places]
        return ImageStreams(
            self.seed if isinstance(self.seed, int) else [self.seed[place] for place in places],
            numbers,
            device,
        )
