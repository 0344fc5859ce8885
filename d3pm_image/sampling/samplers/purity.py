"""Purity: ancestral steps that unmask where the network is most certain (Tang et al. 2022, improved
VQ-Diffusion, section 3.3).

The number of tokens that a jump t → s unmasks is drawn as ancestral sampling draws it; which ones is drawn
without replacement with weights purity^(1/τ), purity = max_j x̂_j. Unmasked tokens move as in ancestral
sampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..base import Sampler, register, setting
from ..draws import draw, gumbel
from ..mask_schedule import keep_best
from ..reverse_kernel import code_moves, fresh_codes, unmask_probability

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


@register("purity")
@dataclass(frozen=True, kw_only=True)
class Purity(Sampler):
    """Ancestral counts of revealed codes, at the positions where the network is most certain.

    Args:
        gumbel: Noise in the choice of what to keep; 0 always takes the most certain, large values take any
            (ancestral).
    """

    gumbel: float = setting(1.0, low=0)

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        u_predict, u_code, u_move, u_scramble, u_order = state.uniforms(5)
        p = state.probabilities(logits)
        predicted = draw(p, u_predict)
        stays = state.masked & (u_move >= unmask_probability(state.process, state.t, state.s))
        score = p.amax(-1).clamp_min(1e-300).log() + self.gumbel * gumbel(u_order)
        fresh = fresh_codes(state.process, predicted, u_code, u_scramble, state.s)
        moved = code_moves(state, p, predicted, u_code, u_move, state.t, state.s)
        return keep_best(state, fresh, score, stays.sum(-1)).where(state.masked, moved)
