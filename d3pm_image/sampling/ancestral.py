"""Ancestral sampling: exact reverse jumps t → s of any length, without a posterior of size K. (Austin et al. 2021.)

With x̂ the leave-one-out prediction and p̄_s = κ_s x̂ + ρ_s, the posterior of math splits into plain choices:

    masked:      unmask with probability (g_s-g_t)/(1-g_t); the code is then x̂ with probability κ_s, else uniform
    unmasked v:  stay : draw x̂ : draw uniform  =  κ_ts (κ_s x̂_v + ρ_s) : (1-κ_ts) κ_s / K : (1-κ_ts) ρ_s

A Bernoulli decides before a code is drawn: a float32 Gumbel-max over K + 1 entries gets small unmask rates wrong
(K = 16384 at a rate of 1/4096: by a factor of 0.075).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import need
from ..diffusion import Process
from .state import DecodeState, draw, probabilities


class Ancestral:
    """Exact reverse steps of the process, whatever its masked and uniform shares."""

    def check(self, process: Process, tokens: int, steps: int) -> None:
        """Raises ConfigError where more jumps are asked for than the process has steps."""
        need(
            process.steps == 0 or steps <= process.steps,
            "steps",
            steps,
            f"the process was trained with {process.steps} steps; use at most that many",
        )

    def start(self, state: DecodeState) -> Tensor:
        """Prior noise at the unknown positions, (B, N)."""
        return state.process.prior(state.streams.uniform(state.x_t.shape[1], 2))

    def level(self, state: DecodeState, t: float) -> Tensor:
        """κ_t that the denoiser is told, (B,)."""
        times = torch.full((state.x_t.shape[0],), t, dtype=torch.float64, device=state.x_t.device)
        return state.process.schedule.survival(times)[1]

    def __call__(self, state: DecodeState, logits: Tensor, t: float, s: float) -> Tensor:
        process, k = state.process, state.process.num_codes
        when = torch.tensor([t, s], dtype=torch.float64, device=logits.device)
        (g_t, g_s), (kappa_t, kappa_s) = process.schedule.survival(when)
        kappa_ts = kappa_t / kappa_s if kappa_s > 0 else torch.ones_like(kappa_t)
        rho_s = (1 - kappa_s) / k

        u = state.streams.uniform(state.x_t.shape[1], 4)
        p = probabilities(logits, state.temperature)
        predicted = draw(p, u[..., 0])
        anything = (u[..., 1] * k).long().clamp_max(k - 1)

        unmask = u[..., 2] < (g_s - g_t) / (1 - g_t) if g_t < 1 else torch.ones_like(state.masked)
        from_mask = torch.where(unmask, torch.where(u[..., 3] < kappa_s, predicted, anything), state.x_t)

        own = torch.where(state.masked, torch.zeros_like(state.x_t), state.x_t)
        stay = kappa_ts * (kappa_s * p.gather(-1, own[..., None])[..., 0] + rho_s)
        fresh, scatter = (1 - kappa_ts) * kappa_s / k, (1 - kappa_ts) * rho_s
        place = u[..., 2] * (stay + fresh + scatter)
        from_code = torch.where(place < fresh, predicted, torch.where(place < fresh + scatter, anything, state.x_t))
        return torch.where(state.masked, from_mask, from_code)
