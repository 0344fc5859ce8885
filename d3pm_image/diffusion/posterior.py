"""Posteriors of the forward process, exact and from predicted clean codes.

With q̄_s = κ_s e_i + ρ_s and ρ = (1-κ)/K, the posterior of x_s given x_t = v and x_0 = i is

    v = m:  P(m) = (1-g_s)/(1-g_t),   P(j) = ((g_s-g_t)/(1-g_t)) q̄_s(j)
    v ≠ m:  P(j) = (κ_ts 1[j=v] + (1-κ_ts)/K) q̄_s(j) / (κ_t 1[v=i] + ρ_t)          (g cancels)

Networks here predict leave-one-out codes x̂ ("loo"): the reverse process puts x̂ in place of e_i, so q̄_s becomes
p̄_s = κ_s x̂ + ρ_s. The posterior over clean codes given all of x_t is then π = softmax(log x̂ + ℓ_t onehot(x_t)) with
ℓ_t = log(1 + K κ_t/(1-κ_t)) on unmasked tokens: the token itself is evidence for its own code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .process import Process


def posterior_bias(process: Process, t: Tensor) -> Tensor:
    """ℓ_t = log(1 + K κ_t / (1-κ_t)), float64 of the shape of t; +inf where κ = 1 (carry-over of unmasked tokens)."""
    _, kappa = process.schedule.survival(t)
    return torch.log1p(process.num_codes * kappa / (1 - kappa))


def posterior_logits(process: Process, logits: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Logits of π, p(x_0 | x_t): leave-one-out logits (B, N, K) plus ℓ_t at each unmasked token's own code.

    Where κ = 1 an unmasked token is certain to be clean; the bias is capped at 1e4 so that no infinity appears.
    """
    masked = process.is_masked(x_t)
    bias = posterior_bias(process, t).clamp_max(1e4)[:, None].expand(x_t.shape)
    bias = torch.where(masked, torch.zeros_like(bias), bias).to(logits.dtype)
    own = torch.where(masked, torch.zeros_like(x_t), x_t)
    return logits.scatter_add(-1, own[..., None], bias[..., None])


def reverse_probabilities(process: Process, x_hat: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """p(x_s | x_t) over all K + 1 tokens, the readable O(K) form: float64 (B, N, K+1).

    Args:
        x_hat: (B, N, K) leave-one-out probabilities of clean codes; a one-hot gives q(x_s | x_t, x_0).
        x_t: (B, N) int64 in 0..K.
        t, s: (B,) times, s < t.
    """
    k = process.num_codes
    g_t, kappa_t = (c[:, None, None] for c in process.schedule.survival(t))
    g_s, kappa_s = (c[:, None, None] for c in process.schedule.survival(s))
    x_hat = x_hat.to(torch.float64)
    masked = process.is_masked(x_t)[..., None]
    own = torch.where(process.is_masked(x_t), torch.zeros_like(x_t), x_t)[..., None]
    p_s = kappa_s * x_hat + (1 - kappa_s) / k

    remasked = ((1 - g_s) / (1 - g_t)).expand(*x_t.shape, 1)
    from_mask = torch.cat([(1 - remasked) * p_s, remasked], -1)

    kappa_ts = torch.where(kappa_s > 0, kappa_t / kappa_s, torch.ones_like(kappa_s))
    evidence = ((1 - kappa_ts) / k).expand(p_s.shape).scatter_add(-1, own, kappa_ts.expand(*x_t.shape, 1))
    from_code = evidence * p_s / (kappa_t * x_hat.gather(-1, own) + (1 - kappa_t) / k)
    from_code = torch.cat([from_code, torch.zeros_like(remasked)], -1)
    return torch.where(masked, from_mask, from_code)
