"""The frames of a request's first images, and what happened to each of their cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import check
from ..sampling.request import SamplerStep


@dataclass(frozen=True)
class Trajectory:
    """Grids before the first step and after each, on the CPU.

    Args:
        codes: (F, B, N) int64, F = steps + 1; meaningless where masked.
        masked: (F, B, N) bool.
    """

    codes: Tensor
    masked: Tensor

    def __len__(self) -> int:
        return len(self.codes)


class Recorder:
    """A ``callback`` of the sampling loop that keeps the first images of a request, whatever its batches.

    Args:
        images: How many to keep.
    """

    def __init__(self, images: int = 8):
        self.images = images
        self.batches: list[list[tuple[Tensor, Tensor]]] = []

    def __call__(self, frame: SamplerStep) -> None:
        if frame.step == 0:
            self.batches.append([])
        left = self.images - sum(len(batch[0][0]) for batch in self.batches[:-1] if batch)
        if left > 0:
            self.batches[-1].append((frame.x_t[:left].cpu(), frame.masked[:left].cpu()))

    def trajectory(self) -> Trajectory:
        """The recorded trajectory. A batch that ended early (as self-correction may) keeps its last state.

        Raises:
            ConfigError: nothing was seen.
        """
        batches = [batch for batch in self.batches if batch]
        check(bool(batches), "trajectory", 0, "needs at least one recorded decode")
        longest = max(map(len, batches))
        padded = [batch + batch[-1:] * (longest - len(batch)) for batch in batches]
        codes, masked = (
            torch.cat([torch.stack([frame[i] for frame in batch]) for batch in padded], 1) for i in (0, 1)
        )
        return Trajectory(codes, masked)


@dataclass(frozen=True)
class Reveals:
    """Events of the cells of images, each (B, N).

    Args:
        step: int64, the step (from 1) that revealed the cell for the last time; of a cell that never was a
            mask, the step that changed it last; 0 without any event.
        remasked: bool, a mask again after it had been a code.
        replaced: bool, another code without being masked in between.
    """

    step: Tensor
    remasked: Tensor
    replaced: Tensor


def reveals(trajectory: Trajectory) -> Reveals:
    """Read a trajectory, transition by transition."""
    before, after = trajectory.masked[:-1], trajectory.masked[1:]
    changed = ~before & ~after & (trajectory.codes[:-1] != trajectory.codes[1:])
    number = torch.arange(1, len(trajectory))[:, None, None]

    def last(event: Tensor) -> Tensor:
        return (event * number).amax(0)

    ever_masked = trajectory.masked.any(0)
    step = torch.where(ever_masked, last(before & ~after), last(changed))
    return Reveals(step, (~before & after).any(0), changed.any(0))
