"""Seeds from several numbers: one place decides how (seed, step, image, …) become independent streams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """What one forward pass computes of a training step.

    Args:
        first: Its first row in the global batch; a process's rows, and those of its accumulation parts, follow each other.
        total: Rows of the global batch.
        seed: Of what is drawn once for the whole step; the same for all of its shares.
    """

    first: int
    total: int
    seed: int


def derive(*parts: int) -> int:
    """One 63-bit seed from several non-negative numbers, by numpy's SeedSequence."""
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32
