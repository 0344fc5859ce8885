"""MaskGIT's confidence decoding (Chang et al. 2022, section 3.2): fill all masks, keep the most confident, repeat.

At progress r = (i+1)/S a code is drawn at every mask; its confidence is log p(code) + τ (1-r) Gumbel noise, and the
floor(N₀ γ(r)) least confident stay masked, at least 1 and at most one fewer than now, N₀ being that image's own
number of unknown codes. γ is cos(πr/2), (2/π) arccos r, or 1 - r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import need
from ..diffusion import Process
from .state import DecodeState, draw, probabilities

REVEAL = {"cosine": lambda r: math.cos(math.pi * r / 2), "arccos": lambda r: 2 / math.pi * math.acos(r), "linear": lambda r: 1 - r}


@dataclass(frozen=True)
class Confidence:
    """Args:
    gumbel: τ, noise of the choice of what to keep.
    reveal: γ, share of the unknown codes still masked after progress r.
    """

    gumbel: float = 4.5
    reveal: str = "cosine"

    def check(self, process: Process, tokens: int, steps: int) -> None:
        """Raises ConfigError for a process without masks, or more steps than there are tokens to reveal."""
        need(
            process.schedule.uniform_share < 1,
            "sampler",
            "confidence",
            "this model was trained without masks (uniform_share 1); use ancestral",
        )
        need(steps <= max(tokens, 1), "steps", steps, f"each step reveals at least one of the {tokens} codes; use at most {tokens}")

    def start(self, state: DecodeState) -> Tensor:
        """Masks everywhere, (B, N)."""
        return state.process.masked_like(state.x_t)

    def level(self, state: DecodeState, t: float) -> Tensor:
        """κ at which the process masks the share that is masked now, an image each, (B,)."""
        schedule = state.process.schedule
        return schedule.survival(schedule.time_of_mask_share(state.masked.double().mean(-1)))[1]

    def __call__(self, state: DecodeState, logits: Tensor, t: float, s: float) -> Tensor:
        progress = (state.step + 1) / state.steps
        u = state.streams.uniform(state.x_t.shape[1], 2)
        p = probabilities(logits, state.temperature)
        codes = draw(p, u[..., 0])
        noise = -torch.log(-torch.log(u[..., 1].clamp(1e-12, 1 - 1e-12)))
        confidence = p.gather(-1, codes[..., None])[..., 0].clamp_min(1e-300).log() + self.gumbel * (1 - progress) * noise
        confidence = confidence.masked_fill(~state.masked, math.inf)

        masked = state.masked.sum(-1)
        left = (state.unknown_count * max(0.0, REVEAL[self.reveal](progress)) + 1e-9).floor().long()
        last = state.step + 1 == state.steps
        left = torch.zeros_like(left) if last else torch.minimum(left.clamp_min(1), (masked - 1).clamp_min(0))
        rank = confidence.argsort(-1).argsort(-1)
        filled = torch.where(state.masked, codes, state.x_t)
        return torch.where(rank < left[:, None], state.process.masked_like(filled), filled)
