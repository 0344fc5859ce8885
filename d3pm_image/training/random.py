"""Randomness of a training step, derived from (seed, step): a resumed run needs no generator state.

Numbers are drawn for the global batch and each process (and accumulation part) takes its own rows, so that
the noise of a step does not depend on the number of processes. An NVIDIA GPU draws its own, which differ from
those of a CPU, because one core cannot draw enough for thousands of images per second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..seeds import Share, derive, entropy


@dataclass
class StepRandom:
    """Streams of one optimizer step.

    Args:
        seed, step: Origin of the streams.
        total: Images of the global batch.
        rows: The rows of it that this part of this process computes.
        device: Where drawn numbers are sent.
    """

    seed: int
    step: int
    total: int
    rows: slice
    device: torch.device
    stream: int = 0

    def uniform(self, *shape: int) -> Tensor:
        """float64 uniforms in [0, 1), of ``shape`` for each row. Each call opens the next stream."""
        place = self.device if self.device.type == "cuda" else torch.device("cpu")
        return self._draw((self.total, *shape), place)[self.rows].to(self.device)

    def keys(self) -> Tensor:
        """A 63-bit number for every row, (rows,) int64, from which a network derives its dropout. Each call
        opens the next stream."""
        self.stream += 1
        state = np.random.SeedSequence(entropy(self.seed, self.step, self.stream)).generate_state(
            self.total, np.uint64
        )
        return torch.from_numpy((state >> 1).astype(np.int64))[self.rows].to(self.device, non_blocking=True)

    def share(self) -> Share:
        """The rows and a seed of the step, for a network whose state depends on the global batch. Each
        call opens the next stream."""
        self.stream += 1
        return Share(self.rows.start, self.total, derive(self.seed, self.step, self.stream))

    def shared(self) -> Tensor:
        """One float64 uniform in [0, 1), the same on every process; on the CPU."""
        return self._draw((), torch.device("cpu"))

    def _draw(self, shape: tuple[int, ...], place: torch.device) -> Tensor:
        self.stream += 1
        generator = torch.Generator(place).manual_seed(derive(self.seed, self.step, self.stream))
        return torch.rand(shape, dtype=torch.float64, generator=generator, device=place)
