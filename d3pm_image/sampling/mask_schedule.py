"""Mask schedule: how many and which masks remain after each step of the samplers that reveal masks in an
order of their own.

At progress r = (i+1)/S the floor(N₀ γ(r)) tokens with the lowest score stay masked, at least 1 and at most
one fewer than now, N₀ being that image's own number of unknown codes. γ is cos(πr/2), (2/π) arccos r, 1 - r
or 1 - r² (Chang et al. 2022, section 3.3).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .state import DecodeState

Reveal = Literal["cosine", "arccos", "linear", "square"]
REVEAL = {
    "cosine": lambda r: math.cos(math.pi * r / 2),
    "arccos": lambda r: 2 / math.pi * math.acos(r),
    "linear": lambda r: 1 - r,
    "square": lambda r: 1 - r * r,
}


def still_masked(state: DecodeState, reveal: str) -> Tensor:
    """Number of tokens of each image that stay masked after this step, (B,): floor(N₀ γ(r)) in [1, masked -
    1], 0 at last."""
    masked = state.masked.sum(-1)
    if state.last:
        return torch.zeros_like(masked)
    left = (state.unknown_count * max(0.0, REVEAL[reveal](state.progress)) + 1e-9).floor().long()
    return torch.minimum(left.clamp_min(1), (masked - 1).clamp_min(0))


def keep_best(state: DecodeState, codes: Tensor, score: Tensor, left: Tensor) -> Tensor:
    """Fill all masks but the ``left`` (B,) of lowest score (B, N) with codes (B, N)."""
    score = score.masked_fill(~state.masked, math.inf)
    rank = score.argsort(-1).argsort(-1)
    filled = torch.where(state.masked, codes, state.x_t)
    return torch.where(rank < left[:, None], state.process.masked_like(filled), filled)
