"""Seeds from several numbers: one place decides how (seed, step, image, …) become independent streams."""

from __future__ import annotations

import numpy as np


def derive(*parts: int) -> int:
    """One 63-bit seed from several non-negative numbers, by numpy's SeedSequence."""
    low, high = np.random.SeedSequence(parts).generate_state(2)
    return int(low) | (int(high) & 0x7FFFFFFF) << 32
