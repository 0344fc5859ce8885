"""The reverse process as a continuous-time Markov chain with extra noise η (Campbell et al. 2022 and 2024,
discrete flow models).

Rates in the denoising direction, with p̄ = κ x̂ + ρ:

    m → j:  ((-g'+η g)/(1-g)) p̄_j
    v → m:  η
    v → j:  ((-κ'/κ)/K) (p̄_j/p̄_v) + (η/K) (1 + p̄_j/p̄_v)

η > 0 adds events that corrupt and denoise again, in balance; a uniform process has no masks to return to, an
absorbing one no random codes. A draw of a token's own code is an event that changes nothing, so the third row
is a jump at rate ((-κ'/κ)+η)/(K p̄_v) drawn from p̄ and one at rate η drawn uniformly. Rates are frozen over
a step. What a step makes of them is the form:

    exact   integrals of the schedule's own hazards, log((1-g_t)/(1-g_s)) and log(κ_s/κ_t):
            P(event) = 1 - e^{-hazard}
    euler   P(event) = rate · Δt, at most 1
    tau     the number of events is Poisson; a token with two or more stays as it was (tau-leaping for
            unordered values)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ...errors import check
from ...lazy import torch
from ..base import Sampler, register, setting
from ..draws import draw
from ..reverse_kernel import TINY, any_code, curves, own_codes

if TYPE_CHECKING:
    from torch import Tensor

    from ...diffusion import Process
    from ..state import DecodeState


@register("ctmc")
@dataclass(frozen=True, kw_only=True)
class CTMC(Sampler):
    """Continuous-time jumps, with extra noise η that corrupts and denoises again.

    Args:
        eta: Extra events per unit of time and code that corrupt and denoise again.
        form: How a step integrates the rates: exact, euler or tau.
    """

    eta: float = setting(0.0, low=0)
    form: Literal["exact", "euler", "tau"] = "exact"

    def check(self, process: Process, tokens: int, steps: int, begin: float = 1.0) -> None:
        """Raises ConfigError for random codes that move by a kernel."""
        super().check(process, tokens, steps, begin)
        hint = (
            "its rates are those of the uniform kernel, and this model's random codes move by another; use"
            " ancestral, purity, renoise, predictor_corrector, first_hitting or remask"
        )
        check(process.kernel is None, "sampler", self.name, hint)

    def active(self, state: DecodeState) -> Tensor:
        return state.unknown.any(-1) if self.eta else super().active(state)

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        process, k = state.process, state.process.num_codes
        schedule, eta = process.schedule, 0.0 if state.last else self.eta
        (g_t, kappa_t), (g_s, kappa_s) = curves(process, state.t), curves(process, state.s)
        span = (state.t - state.s)[:, None]
        if self.form == "exact":
            unmask = torch.log((1 - g_t).clamp_min(TINY)) - torch.log((1 - g_s).clamp_min(TINY))
            scramble = torch.log(kappa_s) - torch.log(kappa_t.clamp_min(TINY))
        else:
            g_slope, kappa_slope = (value[:, None] for value in schedule.slopes(state.t))
            unmask = -g_slope / (1 - g_t).clamp_min(TINY) * span
            scramble = -kappa_slope / kappa_t.clamp_min(1e-12) * span
        extra_m = 0.0 if schedule.uniform else eta * span
        extra_u = 0.0 if schedule.absorbing else eta * span
        unmask = unmask + extra_m * g_t / (1 - g_t).clamp_min(TINY)

        u_code, u_noise, u_event, u_kind, u_mix = state.uniforms(5)
        p = state.probabilities(logits)
        own = own_codes(state)
        kappa_bar = kappa_s if self.form == "exact" else kappa_t
        p_own = kappa_bar * p.gather(-1, own[..., None])[..., 0] + (1 - kappa_bar) / k
        predicted = torch.where(u_mix < kappa_bar, draw(p, u_code), any_code(process, u_noise))

        to_predicted = (scramble + extra_u) / (k * p_own.clamp_min(TINY))
        hazard = torch.where(state.masked, unmask, to_predicted + extra_u + extra_m)
        event = u_event < self.probability(hazard)
        event = event | (state.masked & (state.s <= 0)[:, None])
        place = u_kind * (to_predicted + extra_u + extra_m)
        jumped = torch.where(
            place < to_predicted,
            predicted,
            torch.where(place < to_predicted + extra_u, any_code(process, u_noise), process.masked_like(own)),
        )
        return torch.where(event, torch.where(state.masked, predicted, jumped), state.x_t)

    def probability(self, hazard: Tensor) -> Tensor:
        """Probability that an event of an integrated rate happens in a step, by the form of the rule."""
        if self.form == "euler":
            return hazard.clamp_max(1)
        if self.form == "tau":
            return hazard * torch.exp(-hazard)
        return -torch.expm1(-hazard)
