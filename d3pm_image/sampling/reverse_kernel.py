"""Exact reverse kernels that samplers are made of, token by token and without a posterior of size K.

With x̂ the leave-one-out prediction, p̄_s = κ_s x̂ + ρ_s and a jump t → s:

    masked:      unmask with probability (g_s-g_t)/(1-g_t); the code is then x̂ with probability κ_s, else
                 uniform
    unmasked v:  stay : draw x̂ : draw uniform  =  κ_ts (κ_s x̂_v + ρ_s) : (1-κ_ts) κ_s / K : (1-κ_ts) ρ_s

Where random codes move by a kernel M, x̂ at a mask is moved by M_s, and an unmasked v draws from
(x̂ M_s)_j M_ts[j, v] over all j.

A Bernoulli decides before a code is drawn: a float32 Gumbel-max over K + 1 entries gets small unmask rates
wrong (K = 16384 at a rate of 1/4096: by a factor of 0.075).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import torch
from .draws import draw

if TYPE_CHECKING:
    from torch import Tensor

    from ..diffusion import Process
    from .state import DecodeState

TINY = 1e-300


def curves(process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
    """g and κ at times t (B,), as columns (B, 1)."""
    g, kappa = process.schedule.survival(t)
    return g[:, None], kappa[:, None]


def any_code(process: Process, u: Tensor) -> Tensor:
    """A uniform code from uniforms."""
    return (u * process.num_codes).long().clamp_max(process.num_codes - 1)


def own_codes(state: DecodeState) -> Tensor:
    """x_t with masks replaced by code 0, so that it can index codes."""
    return torch.where(state.masked, torch.zeros_like(state.x_t), state.x_t)


def fresh_codes(process: Process, predicted: Tensor, u_code: Tensor, u_scramble: Tensor, s: Tensor) -> Tensor:
    """Codes of tokens that are unmasked at s (B,): the prediction with probability κ_s, else any code; or the
    prediction moved by the kernel."""
    if process.kernel is not None:
        kappa = process.schedule.survival(s)[1]
        return process.kernel.jump(predicted, torch.ones_like(kappa), kappa, u_code)
    return torch.where(u_scramble < curves(process, s)[1], predicted, any_code(process, u_code))


def unmask_probability(process: Process, t: Tensor, s: Tensor) -> Tensor:
    """(g_s-g_t)/(1-g_t), (B, 1); 1 where nothing is masked at t."""
    g_t, g_s = curves(process, t)[0], curves(process, s)[0]
    return torch.where(g_t < 1, (g_s - g_t) / (1 - g_t).clamp_min(TINY), torch.ones_like(g_t))


def code_moves(
    state: DecodeState, p: Tensor, predicted: Tensor, u_code: Tensor, u_move: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """Unmasked tokens after the jump t → s, (B, N); entries of masked tokens are undefined."""
    process, k = state.process, state.process.num_codes
    if process.schedule.absorbing:
        return state.x_t
    if process.kernel is not None:
        kappa_t, kappa_s = (process.schedule.survival(time)[1] for time in (t, s))
        _, weights = process.kernel.weights(p, own_codes(state), kappa_s, kappa_t)
        # a token stays where the evidence rules out all of p
        return torch.where(weights.sum(-1) > 0, draw(weights, u_move), state.x_t)
    kappa_t, kappa_s = curves(process, t)[1], curves(process, s)[1]
    kappa_ts = torch.where(kappa_s > 0, kappa_t / kappa_s.clamp_min(TINY), torch.ones_like(kappa_s))
    rho_s = (1 - kappa_s) / k
    own = own_codes(state)
    stay = kappa_ts * (kappa_s * p.gather(-1, own[..., None])[..., 0] + rho_s)
    fresh, scatter = (1 - kappa_ts) * kappa_s / k, (1 - kappa_ts) * rho_s
    place = u_move * (stay + fresh + scatter)
    return torch.where(
        place < fresh, predicted, torch.where(place < fresh + scatter, any_code(process, u_code), state.x_t)
    )


def reverse_jump(state: DecodeState, p: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """x_s drawn from p(x_s | x_t), (B, N), for probabilities p (B, N, K) and times (B,)."""
    u_predict, u_code, u_move, u_scramble = state.uniforms(4)
    predicted = draw(p, u_predict)
    fresh = fresh_codes(state.process, predicted, u_code, u_scramble, s)
    from_mask = torch.where(u_move < unmask_probability(state.process, t, s), fresh, state.x_t)
    return torch.where(state.masked, from_mask, code_moves(state, p, predicted, u_code, u_move, t, s))
