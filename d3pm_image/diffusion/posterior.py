"""Posteriors of the forward process, exact and from predicted clean codes.

With q̄_s = κ_s e_i + ρ_s and ρ = (1-κ)/K, the posterior of x_s given x_t = v and x_0 = i is

    v = m:  P(m) = (1-g_s)/(1-g_t),   P(j) = ((g_s-g_t)/(1-g_t)) q̄_s(j)
    v ≠ m:  P(j) = (κ_ts 1[j=v] + (1-κ_ts)/K) q̄_s(j) / (κ_t 1[v=i] + ρ_t)          (g cancels)

"x_0-parameterisation" has two meanings, which differ whenever κ < 1:

    posterior form       p(x_s | x_t) = Σ_i q(x_s | x_t, x_0 = i) π_i,   π predicts p(x_0 | x_t)
                         (VQ-Diffusion, discrete flow models)
    leave-one-out form   x̂ in place of e_i: q̄_s → p̄_s = κ_s x̂ + ρ_s, D → κ_t x̂_v + ρ_t;
                         x̂ predicts a token from all others
                         (D3PM's code, multinomial diffusion, UDLM, GIDD)

They are the same process exactly iff π = softmax(log x̂ + ℓ_t onehot(x_t)) with ℓ_t = log(1 + K κ_t/(1-κ_t))
on unmasked tokens: the token itself is evidence for its own code. Everything here uses x̂; a posterior
network's ℓ_t is subtracted first. With a kernel M the same holds with M_s[i], x̂ M_s, M_ts[j, v] and log
M_t[j, v] in place of q̄_s, p̄_s, the evidence of x_t and ℓ_t onehot.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..config import check
from .kernel_terms import evidence as log_evidence
from .process import Process


def posterior_bias(process: Process, t: Tensor) -> Tensor:
    """ℓ_t = log(1 + K κ_t / (1-κ_t)), float64 of the shape of t; +inf where κ = 1 (carry-over of unmasked
    tokens). Raises ConfigError for a kernel, whose evidence has a value for each code."""
    hint = "has evidence for every code; posterior_logits adds it"
    check(process.kernel is None, "process.kernel", "gaussian or nearest", hint)
    _, kappa = process.schedule.survival(t)
    return torch.log1p(process.num_codes * kappa / (1 - kappa))


def posterior_logits(process: Process, logits: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Logits of π, p(x_0 | x_t): leave-one-out logits (B, N, K) plus ℓ_t at each unmasked token's own code.

    Where κ = 1 an unmasked token is certain to be clean; the bias is capped at 1e4 so that no infinity
    appears.
    """
    if process.kernel is not None:
        return logits + log_evidence(process, x_t, t).to(logits.dtype)
    masked = process.is_masked(x_t)
    bias = posterior_bias(process, t).clamp_max(1e4)[:, None].expand(x_t.shape)
    bias = torch.where(masked, torch.zeros_like(bias), bias).to(logits.dtype)
    own = torch.where(masked, torch.zeros_like(x_t), x_t)
    return logits.scatter_add(-1, own[..., None], bias[..., None])


def leave_one_out_logits(process: Process, logits: Tensor, x_t: Tensor, kappa: Tensor) -> Tensor:
    """A network's logits (B, N, K) as leave-one-out logits, whatever its parameterisation; κ_t (B,), or (B,
    N) as the network was told it.

    A posterior network's log π has the evidence ℓ_t of each unmasked token for its own code taken out again.
    If κ = 1 both are the same at masked tokens, and unmasked ones are not used.
    """
    if process.parameterisation == "leave_one_out":
        return logits
    kappa = kappa.to(torch.float64)
    bias = torch.where(
        kappa < 1,
        torch.log1p(process.num_codes * kappa / (1 - kappa).clamp_min(1e-300)),
        torch.zeros_like(kappa),
    )
    masked = process.is_masked(x_t)
    bias = bias if bias.ndim == 2 else bias[:, None]
    bias = torch.where(masked, torch.zeros_like(bias), bias)
    own = torch.where(masked, torch.zeros_like(x_t), x_t)
    return logits.scatter_add(-1, own[..., None], -bias[..., None].to(logits.dtype))


def posterior(process: Process, x_0: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """q(x_s | x_t, x_0) over all K + 1 tokens: float64 (B, N, K+1) for codes (B, N) and times (B,), s < t."""
    x_hat = torch.nn.functional.one_hot(x_0, process.num_codes).to(torch.float64)
    return reverse_leave_one_out(process, x_hat, x_t, t, s)


def reverse_leave_one_out(process: Process, x_hat: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """p(x_s | x_t) with leave-one-out x̂ in place of e_i, the readable O(K) form: float64 (B, N, K+1).

    Args:
        x_hat: (B, N, K) leave-one-out probabilities of clean codes.
        x_t: (B, N) int64 in 0..K.
        t, s: (B,) times, s < t.
    """
    x_hat = x_hat.to(torch.float64)
    if process.kernel is not None:
        return _by_kernel(process, x_hat, x_hat, x_t, t, s)
    masked, own, evidence, c = _jump(process, x_hat, x_t, t, s)
    p_s = c.kappa_s * x_hat + c.rho_s
    from_code = evidence * p_s / (c.kappa_t * x_hat.gather(-1, own) + c.rho_t)
    return _with_mask(masked, c.remasked, p_s, from_code)


def reverse_mixture(process: Process, pi: Tensor, x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """p(x_s | x_t) = Σ_i q(x_s | x_t, x_0 = i) π_i, O(K): float64 (B, N, K+1).

    With D_i = κ_t 1[v=i] + ρ_t an unmasked token has
    P(j) ∝ (κ_ts 1[j=v] + (1-κ_ts)/K) (κ_s π_j/D_j + ρ_s Σ_i π_i/D_i).

    Codes that x_t rules out (κ = 1) are left out of π.

    Args:
        pi: (B, N, K) posterior probabilities of clean codes; others as in :func:`reverse_leave_one_out`.
    """
    pi = pi.to(torch.float64)
    if process.kernel is not None:
        unseen = pi / log_evidence(process, x_t, t).exp().clamp_min(1e-300)
        return _by_kernel(process, pi, unseen, x_t, t, s)
    masked, own, evidence, c = _jump(process, pi, x_t, t, s)
    d = (c.rho_t + torch.zeros_like(pi)).scatter_add(-1, own, c.kappa_t.expand(own.shape))
    weighed = torch.where(d > 0, pi / d.clamp_min(1e-300), torch.zeros_like(pi))
    from_code = evidence * (c.kappa_s * weighed + c.rho_s * weighed.sum(-1, keepdim=True))
    from_code = from_code / from_code.sum(-1, keepdim=True).clamp_min(1e-300)
    return _with_mask(masked, c.remasked, c.kappa_s * pi + c.rho_s, from_code)


def _by_kernel(
    process: Process, at_mask: Tensor, at_code: Tensor, x_t: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """x_s of a process with a kernel from weights (B, N, K) of clean codes at masks, and at unmasked
    tokens."""
    assert process.kernel is not None
    (g_s, kappa_s), (g_t, kappa_t) = process.schedule.survival(s), process.schedule.survival(t)
    masked = process.is_masked(x_t)
    own = torch.where(masked, torch.zeros_like(x_t), x_t)
    _, from_code = process.kernel.weights(at_code, own, kappa_s, kappa_t)
    from_mask = at_mask @ process.kernel.moves(torch.ones_like(kappa_s), kappa_s)
    from_code = from_code / from_code.sum(-1, keepdim=True).clamp_min(1e-300)
    remasked = ((1 - g_s) / (1 - g_t).clamp_min(1e-300))[:, None, None].expand(*x_t.shape, 1)
    return _with_mask(masked[..., None], remasked, from_mask, from_code)


class _Jump(NamedTuple):
    kappa_s: Tensor
    rho_s: Tensor
    kappa_t: Tensor
    rho_t: Tensor
    remasked: Tensor  # P(x_s = m | x_t = m)


def _jump(
    process: Process, like: Tensor, x_t: Tensor, t: Tensor, s: Tensor
) -> tuple[Tensor, Tensor, Tensor, _Jump]:
    """Masked tokens, own codes, the evidence κ_ts 1[j=v] + (1-κ_ts)/K of x_t for each x_s = j, and the
    jump's numbers."""
    k = process.num_codes
    g_t, kappa_t = (value[:, None, None] for value in process.schedule.survival(t))
    g_s, kappa_s = (value[:, None, None] for value in process.schedule.survival(s))
    masked = process.is_masked(x_t)
    own = torch.where(masked, torch.zeros_like(x_t), x_t)[..., None]
    kappa_ts = torch.where(kappa_s > 0, kappa_t / kappa_s.clamp_min(1e-300), torch.ones_like(kappa_s))
    evidence = ((1 - kappa_ts) / k).expand(like.shape).scatter_add(-1, own, kappa_ts.expand(own.shape))
    remasked = ((1 - g_s) / (1 - g_t).clamp_min(1e-300)).expand(own.shape)
    return (
        masked[..., None],
        own,
        evidence,
        _Jump(kappa_s, (1 - kappa_s) / k, kappa_t, (1 - kappa_t) / k, remasked),
    )


def _with_mask(masked: Tensor, remasked: Tensor, from_mask: Tensor, from_code: Tensor) -> Tensor:
    """Append the mask's probability: (1 - remasked) · from_mask at masks; codes never become masks on the way
    back."""
    at_mask = torch.cat([(1 - remasked) * from_mask, remasked], -1)
    return torch.where(masked, at_mask, torch.cat([from_code, torch.zeros_like(remasked)], -1))
