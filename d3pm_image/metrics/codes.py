"""How a codebook is used."""

from __future__ import annotations

import torch
from torch import Tensor


def usage(codes: Tensor, num_codes: int) -> dict[str, Tensor]:
    """Number of distinct codes and perplexity exp(entropy) of codes (any shape, int64). Scalars, float32."""
    return usage_of(torch.bincount(codes.flatten(), minlength=num_codes).float())


def usage_of(counts: Tensor) -> dict[str, Tensor]:
    """The same from the number of occurrences of each code, (K,) floating point; scalars of that type. All 0
    gives perplexity 1."""
    p = counts / counts.sum().clamp_min(1)
    entropy = -torch.special.xlogy(p, p).sum()
    return {"codes_used": (counts > 0).sum().to(counts.dtype), "perplexity": entropy.exp()}
