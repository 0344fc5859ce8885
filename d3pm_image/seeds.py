"""Seeds from several numbers: one place decides how (seed, step, image, …) become independent streams."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """What one forward pass computes of a training step.

    Args:
        first: Its first row in the global batch; a process's rows, and those of its accumulation parts,
            follow each other.
        total: Rows of the global batch.
        seed: Of what is drawn once for the whole step; the same for all of its shares.
    """

    first: int
    total: int
    seed: int


def entropy(*parts: int) -> tuple[int, ...]:
    """What numpy's SeedSequence takes for several non-negative numbers, so that different numbers are
    different streams.

    It joins the 32-bit words of all numbers: 5 + 7·2³² alone would be (5, 7). Numbers of more than one word
    are therefore replaced by their 256-bit hash; smaller ones keep the streams that they always had.
    """
    return tuple(
        part if part < 1 << 32 else int.from_bytes(hashlib.sha256(b"%d" % part).digest(), "big")
        for part in map(int, parts)
    )


def derive(*parts: int) -> int:
    """One 63-bit seed from several non-negative numbers, by numpy's SeedSequence."""
    low, high = np.random.SeedSequence(entropy(*parts)).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32
