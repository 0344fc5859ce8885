"""Predictor-corrector (Campbell et al. 2022, section 4.4): ancestral steps, with corrector steps in between.

A corrector noises x_s forward to s' > s by the process's own jump and draws x_s back from p(x_s | x_{s'}):
both halves keep the marginals at s, so errors of the predictor are redrawn. Every half of the pair costs
one network call, and ``steps`` counts calls: odd calls predict, even ones correct, the last one predicts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from ..base import Sampler, register, setting
from ..reverse_kernel import reverse_jump
from ..times import uniform_times

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


def plan(steps: int) -> list[bool]:
    """Which calls predict: P C P C … P, with one more P at the start where the number is even."""
    pairs = [i % 2 == 0 for i in range(steps if steps % 2 else steps - 1)]
    return pairs if steps % 2 else [True, *pairs]


@register("predictor_corrector")
@dataclass(frozen=True, kw_only=True)
class PredictorCorrector(Sampler):
    """Ancestral steps, with corrector steps in between.

    Args:
        eta: Size of a corrector step, in predictor steps.
    """

    eta: float = setting(1.0, low=0)

    def active(self, state: DecodeState) -> Tensor:
        return state.unknown.any(-1)

    def schedule(self, state: DecodeState) -> None:
        """A predictor goes from one time of the grid to the next; a corrector from a little above its time
        back to it, having noised x_t on the way, at most to where the decode began."""
        predicts = plan(state.steps)
        times = uniform_times(sum(predicts), state.begin)
        done = sum(predicts[: state.step])
        s = times[done + 1] if predicts[state.step] else times[done]
        t = (
            times[done]
            if predicts[state.step]
            else min(state.begin, times[done] + self.eta * state.begin / sum(predicts))
        )
        state.t, state.s = state.times(t), state.times(s)
        if not predicts[state.step]:
            noised = state.process.jump(state.x_t, state.s, state.t, torch.stack(state.uniforms(3), -1))
            state.x_t = torch.where(state.unknown, noised, state.x_t)

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        return reverse_jump(state, state.probabilities(logits), state.t, state.s)
