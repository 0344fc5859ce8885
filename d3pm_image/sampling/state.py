"""The state that a sampler gets: the noisy grid, known codes, times, and one random stream per image."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ..config import ConfigError
from ..devices import exact_device
from ..diffusion import Process
from ..seeds import derive
from .draws import LogitsFilter


def whole_number(name: str, value: Any) -> int:
    """A whole number of Python, NumPy or torch as Python's. Raises ConfigError for anything else, true and
    false included."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except (TypeError, RuntimeError):
        raise ConfigError(name, value, "give a whole number") from None


def as_seeds(seed: Any) -> int | list[int]:
    """One seed, or one for each image, as Python's whole numbers; NumPy's and torch's, and their arrays, are
    taken too.

    Raises:
        ConfigError: anything else.
    """
    seed = seed.tolist() if hasattr(seed, "tolist") else seed
    if isinstance(seed, (list, tuple, range)):
        return [whole_number("seed", one) for one in seed]
    return whole_number("seed", seed)


class ImageStreams:
    """One generator per image, so that the random numbers of image i under a seed are the same in a batch of
    any size and on any device.

    Args:
        seed: Seed of the whole request, or one seed per image.
        images: Numbers of the images in this batch; image i of a request is always number i.
        device: Where the network is; the numbers are sent there, or stay on the CPU if that device has no
            float64.
    """

    def __init__(
        self, seed: int | Sequence[int], images: range | list[int], device: torch.device | str = "cpu"
    ):
        self.device = exact_device(device)
        seed = as_seeds(seed)
        seeds = [derive(seed, i) for i in images] if isinstance(seed, int) else [derive(s, 0) for s in seed]
        self.generators = [torch.Generator().manual_seed(s) for s in seeds]

    def uniform(self, *shape: int) -> Tensor:
        """float64 uniforms in [0, 1), of ``shape`` for each of the B images."""
        return torch.stack([torch.rand(shape, dtype=torch.float64, generator=g) for g in self.generators]).to(
            self.device
        )

    def take(self, images: list[int]) -> ImageStreams:
        """The streams of some of the images, in their present state."""
        some = ImageStreams([], [], self.device)
        some.generators = [self.generators[i] for i in images]
        return some


@dataclass
class DecodeState:
    """The state of a decode between two network calls.

    Args:
        process: Forward process that the denoiser was trained with.
        x_t: (B, N) int64 noisy codes.
        unknown: (B, N) bool, positions to generate; all others hold known codes and never change.
        streams: Randomness, one stream per image.
        logits_filter: How logits become probabilities.
        step, steps: Number of this step (from 0) and of all.
        begin: Noise level at which the decode begins: 1 is noise; below 1 it begins with known codes,
            corrupted to this level.
        t, s: (B,) float64, noise level of x_t and of the step's result.
        grid: (H, W).
        memory: Tensors with B rows that a sampler keeps from step to step.
    """

    process: Process
    x_t: Tensor
    unknown: Tensor
    streams: ImageStreams
    logits_filter: LogitsFilter = field(default_factory=LogitsFilter)
    step: int = 0
    steps: int = 1
    begin: float = 1.0
    t: Tensor = field(default_factory=lambda: torch.ones(1, dtype=torch.float64))
    s: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.float64))
    grid: tuple[int, int] = (1, 1)
    memory: dict[str, Tensor] = field(default_factory=dict)

    @property
    def unknown_count(self) -> Tensor:
        """(B,) number of positions to generate."""
        return self.unknown.sum(-1)

    @property
    def masked(self) -> Tensor:
        """(B, N) bool: tokens that are masks now."""
        return self.process.is_masked(self.x_t)

    @property
    def progress(self) -> float:
        """r = (i+1)/S, the share of the steps done after this one."""
        return (self.step + 1) / self.steps

    @property
    def last(self) -> bool:
        """Whether this is the last step."""
        return self.step + 1 == self.steps

    def times(self, time: float) -> Tensor:
        """One time for all images, (B,) float64."""
        return torch.full((len(self.x_t),), time, dtype=torch.float64, device=self.x_t.device)

    def uniforms(self, count: int) -> tuple[Tensor, ...]:
        """``count`` uniforms per token, each (B, N) float64."""
        return self.streams.uniform(self.x_t.shape[1], count).unbind(-1)

    def take(self, images: Tensor) -> DecodeState:
        """The state of some images (an index tensor), to be written back with :meth:`put`."""
        memory = {name: value[images] for name, value in self.memory.items()}
        streams = self.streams.take(images.tolist())
        t, s = self.t.expand(len(self.x_t))[images], self.s.expand(len(self.x_t))[images]
        return replace(
            self, x_t=self.x_t[images], unknown=self.unknown[images], streams=streams, t=t, s=s, memory=memory
        )

    def put(self, images: Tensor, part: DecodeState) -> None:
        """Write codes, times and memory of some images back into this state."""
        self.x_t = self.x_t.index_copy(0, images, part.x_t)
        for name, value in part.memory.items():
            whole = self.memory.get(name)
            whole = value.new_zeros(len(self.x_t), *value.shape[1:]) if whole is None else whole
            self.memory[name] = whole.index_copy(0, images, value)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Clean-code probabilities under temperature, top-k and top-p, float64 (…, K)."""
        return self.logits_filter(logits)
