"""Renoise: denoise further than asked, then corrupt forward again (Ψ-samplers): t → s' < s → s with one network call.

The forward jump s' → s is the process's own, so q(x_s | x_0) is preserved whatever s'. s' = s - η (t-s), at least 0: η = 0 is
ancestral, η = 1 looks one step further, and η = steps predicts clean codes at every step and noises them anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .moves import reverse_jump
from .rule import Rule
from .state import DecodeState


@dataclass(frozen=True)
class Renoise(Rule):
    """Args:
    eta: Steps that each step overshoots.
    """

    eta: float = 1.0
    name = "renoise"

    def active(self, state: DecodeState) -> Tensor:
        return state.unknown.any(-1)

    def __call__(self, state: DecodeState, logits: Tensor) -> Tensor:
        further = (state.s - self.eta * (state.t - state.s)).clamp_min(0)
        cleaner = reverse_jump(state, state.probabilities(logits), state.t, further)
        if state.last:
            return cleaner
        draws = torch.stack(state.uniforms(3), -1)
        return state.process.jump(cleaner, further, state.s, draws)
