"""Remasking (ReMDM, Wang et al. 2025): revealed tokens may become masks again and be redrawn, at unchanged
marginals.

    v → m with probability σ ≤ σ_max = min(1, (1-g_s)/g_t)
    m unmasks with (g_s-(1-σ)g_t)/(1-g_t)
    else the κ-posterior

    cap          σ = min(η, σ_max)
    rescale      σ = η σ_max
    confidence   σ = σ_max · softmax over the image's revealed tokens of minus the probability each had when
                 it was drawn; masks have σ = 0, and unmask with (g_s-g_t)/(1-g_t), as in the paper and its
                 code: slightly more tokens stay masked than in the process
    loop         the decode runs to 10 % masks without remasking (or begins there, if it begins later), stays
                 there remasking (σ = min(η, σ_max)) for half of the steps, and then ends without

Works best at temperatures near 0.8 on images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...lazy import torch
from ..base import Sampler, register, setting
from ..draws import draw
from ..reverse_kernel import TINY, code_moves, curves, fresh_codes

if TYPE_CHECKING:
    from torch import Tensor

    from ...diffusion import Process
    from ..state import DecodeState

LOOP_MASKS, LOOP_SHARE = 0.1, 0.5


@register("remask")
@dataclass(frozen=True, kw_only=True)
class Remask(Sampler):
    """ReMDM: revealed codes may become masks again and be redrawn, at unchanged marginals.

    Args:
        eta: Rate of remasking (cap, rescale and loop).
        strategy: Remasking probabilities: cap, rescale, confidence or loop.
    """

    eta: float = setting(0.1, low=0, high=1)
    strategy: Literal["cap", "rescale", "confidence", "loop"] = "cap"

    def check(self, process: Process, tokens: int, steps: int, begin: float = 1.0) -> None:
        """Raises ConfigError for a process without masks."""
        super().check(process, tokens, steps, begin)
        self.check_masks(process, "renoise")

    def active(self, state: DecodeState) -> Tensor:
        return state.unknown.any(-1)

    def schedule(self, state: DecodeState) -> None:
        super().schedule(state)
        if self.strategy != "loop" or state.steps < 4 or state.begin == 0:
            return
        schedule = state.process.schedule
        hold = float(
            schedule.time_of_mask_share(
                torch.tensor(LOOP_MASKS * (1 - float(schedule.survival(torch.ones(1))[0])))
            )
        )
        hold = min(hold, state.begin)
        before = max(1, round(state.steps * (1 - LOOP_SHARE) * (1 - hold / state.begin)))
        during = round(state.steps * LOOP_SHARE)
        after = max(1, state.steps - before - during)
        times = [state.begin - (state.begin - hold) * i / before for i in range(before)] + [hold] * (
            state.steps - before - after
        )
        times += [hold * (1 - i / after) for i in range(after)] + [0.0]
        state.t, state.s = state.times(times[state.step]), state.times(times[state.step + 1])

    def sigma(self, state: DecodeState) -> Tensor:
        """σ of every token, (B, N)."""
        g_t, g_s = curves(state.process, state.t)[0], curves(state.process, state.s)[0]
        most = torch.minimum(torch.ones_like(g_t), (1 - g_s) / g_t.clamp_min(TINY))
        one = torch.ones(state.x_t.shape, dtype=torch.float64, device=state.x_t.device)
        if state.last:
            return 0 * one
        if self.strategy == "rescale":
            return one * self.eta * most
        if self.strategy == "confidence":
            sure = state.memory.get("sureness", one).masked_fill(state.masked | ~state.unknown, torch.inf)
            return most * torch.softmax(-sure, -1).nan_to_num(0.0)
        if self.strategy == "loop" and bool((state.t != state.s).all()):
            return 0 * one
        return torch.minimum(one * self.eta, most.expand_as(one))

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        process, sigma = state.process, self.sigma(state)
        g_t, g_s = curves(process, state.t)[0], curves(process, state.s)[0]
        u_predict, u_code, u_move, u_scramble, u_remask = state.uniforms(5)
        p = state.probabilities(logits)
        predicted = draw(p, u_predict)
        unmask = torch.where(
            g_t < 1, (g_s - (1 - sigma) * g_t) / (1 - g_t).clamp_min(TINY), torch.ones_like(g_t)
        )
        shown = state.masked & (u_move < unmask)
        fresh = fresh_codes(process, predicted, u_code, u_scramble, state.s)
        moved = code_moves(state, p, predicted, u_code, u_move, state.t, state.s)
        hidden = ~state.masked & (u_remask < sigma)
        sure = p.gather(-1, predicted[..., None])[..., 0]
        state.memory["sureness"] = torch.where(
            shown, sure, state.memory.get("sureness", torch.zeros_like(sure))
        )
        out = torch.where(state.masked, torch.where(shown, fresh, state.x_t), moved)
        return torch.where(hidden, process.masked_like(out), out)
