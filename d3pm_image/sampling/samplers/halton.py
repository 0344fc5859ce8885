"""Reveal masks in the order of the 2-D Halton sequence, bases 2 and 3 (Besnier et al. 2025, Halton scheduler
for MaskGIT).

The order spreads each step's codes over the image, so that codes drawn at once depend little on each other.
It is filtered to each image's unknown positions; after step i max(i+1, floor(N₀ (1-γ(r)))) of them are
revealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ...lazy import torch
from ..base import MaskSampler, register
from ..draws import draw
from ..mask_schedule import REVEAL, Reveal, keep_best

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


def van_der_corput(count: int, base: int) -> Tensor:
    """The first ``count`` numbers of the van der Corput sequence, from index 1, float64."""
    index, value, scale = torch.arange(1, count + 1), torch.zeros(count, dtype=torch.float64), 1.0
    while bool((index > 0).any()):
        scale /= base
        value += scale * (index % base)
        index = index // base
    return value


@lru_cache(maxsize=32)
def halton_rank(grid: tuple[int, int]) -> Tensor:
    """Place of every cell in the order of the Halton sequence, (N,) int64, row by row."""
    height, width = grid
    cells, count = height * width, 8 * height * width
    while True:
        row = (van_der_corput(count, 2) * height).long()
        column = (van_der_corput(count, 3) * width).long()
        visited = list(dict.fromkeys((row * width + column).tolist()))
        if len(visited) == cells:
            break
        count *= 2
    rank = torch.empty(cells, dtype=torch.int64)
    rank[torch.tensor(visited)] = torch.arange(cells)
    return rank


@register("halton")
@dataclass(frozen=True, kw_only=True)
class Halton(MaskSampler):
    """Reveal masks in the order of the 2-D Halton sequence, far from each other.

    Args:
        reveal: Curve of the fraction of codes still masked over the steps.
        roll: Start the order at a random cell of each image.
    """

    reveal: Reveal = "arccos"
    roll: bool = False

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        rank = halton_rank(state.grid).to(state.x_t.device).expand(state.x_t.shape)
        if self.roll:
            if "roll" not in state.memory:
                state.memory["roll"] = (state.streams.uniform(1)[:, 0] * rank.shape[1]).long()
            rank = (rank + state.memory["roll"][:, None]) % rank.shape[1]
        codes = draw(state.probabilities(logits), state.uniforms(1)[0])
        total = state.unknown_count
        shown = (
            (total * (1 - max(0.0, REVEAL[self.reveal](state.progress))) + 1e-9)
            .floor()
            .long()
            .clamp_min(state.step + 1)
        )
        left = torch.zeros_like(total) if state.last else (total - shown).clamp_min(0)
        left = torch.minimum(left, (state.masked.sum(-1) - 1).clamp_min(0))
        return keep_best(state, codes, -rank.double(), left)
