"""Reveal the masks that the network is surest of (MaskGIT, Chang et al. 2022, section 3.2): fill all, keep the best, repeat.

At progress r = (i+1)/S a code is drawn at every mask; the floor(N₀ γ(r)) least sure stay masked, at least 1 and at most one
fewer than now, N₀ being that image's own number of unknown codes. γ is cos(πr/2), (2/π) arccos r, 1 - r or 1 - r². Sureness is

    confidence   log p(drawn code)          entropy   Σ p log p          margin   p of the best less p of the second

plus τ (1-r) Gumbel noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .rule import MaskRule
from .state import DecodeState, draw, gumbel

REVEAL = {
    "cosine": lambda r: math.cos(math.pi * r / 2),
    "arccos": lambda r: 2 / math.pi * math.acos(r),
    "linear": lambda r: 1 - r,
    "square": lambda r: 1 - r * r,
}


def still_masked(state: DecodeState, reveal: str) -> Tensor:
    """Number of tokens of each image that stay masked after this step, (B,): floor(N₀ γ(r)) in [1, masked - 1], 0 at last."""
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


@dataclass(frozen=True)
class Confidence(MaskRule):
    """Args:
    gumbel: τ, noise of the choice of what to keep.
    reveal: γ, share of the unknown codes still masked after progress r.
    order: Sureness: confidence, entropy or margin.
    """

    gumbel: float = 4.5
    reveal: str = "cosine"
    order: str = "confidence"

    @property
    def name(self) -> str:
        """The rule's name is its order's."""
        return self.order

    def sureness(self, p: Tensor, codes: Tensor) -> Tensor:
        """How sure the network is of each token, (B, N), larger is surer; p (B, N, K), codes (B, N)."""
        if self.order == "entropy":
            return torch.xlogy(p, p).sum(-1)
        if self.order == "margin":
            best = p.topk(min(2, p.shape[-1])).values
            return best[..., 0] - best[..., -1] * (p.shape[-1] > 1)
        return p.gather(-1, codes[..., None])[..., 0].clamp_min(1e-300).log()

    def __call__(self, state: DecodeState, logits: Tensor) -> Tensor:
        u_code, u_noise = state.uniforms(2)
        p = state.probabilities(logits)
        codes = draw(p, u_code)
        score = self.sureness(p, codes) + self.gumbel * (1 - state.progress) * gumbel(u_noise)
        return keep_best(state, codes, score, still_masked(state, self.reveal))
