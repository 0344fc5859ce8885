"""Renoise: denoise further than needed, then corrupt forward again (Ψ-samplers): t → s' < s → s with one
network call.

The forward jump s' → s is the process's own, so q(x_s | x_0) is preserved for any s'. s' = s - η (t-s), at
least 0: η = 0 is ancestral, η = 1 looks one step further, and η = steps predicts clean codes at every step
and corrupts them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from ..base import Sampler, register, setting
from ..reverse_kernel import reverse_jump

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


@register("renoise")
@dataclass(frozen=True, kw_only=True)
class Renoise(Sampler):
    """Denoise further than asked, then corrupt forward again (Ψ-samplers).

    Args:
        eta: Steps that each step overshoots; 0 is ancestral.
    """

    eta: float = setting(1.0, low=0)

    def active(self, state: DecodeState) -> Tensor:
        return state.unknown.any(-1)

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        further = (state.s - self.eta * (state.t - state.s)).clamp_min(0)
        cleaner = reverse_jump(state, state.probabilities(logits), state.t, further)
        if state.last:
            return cleaner
        draws = torch.stack(state.uniforms(3), -1)
        return state.process.jump(cleaner, further, state.s, draws)
