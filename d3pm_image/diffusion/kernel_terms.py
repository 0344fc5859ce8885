"""The terms of the loss at one token where random codes move by a kernel, from all K logits.

With x̂ = softmax(z), M the moves of :mod:`~d3pm_image.diffusion.kernel`, i = x_0 and v = x_t:

    q̄_s = M_s[i],  p̄_s = x̂ M_s        v = m:  KL = ((g_s-g_t)/(1-g_t)) KL(q̄_s ‖ p̄_s)
    v ≠ m:  KL(q ‖ p),  q_j ∝ q̄_s(j) M_ts[j, v],  p_j ∝ p̄_s(j) M_ts[j, v]
    s = 0:  KL = CE(π), π_j ∝ x̂_j M_t[j, v]

and, as T → ∞, the densities dL/dt, with τ' the pace of the kernel's clock

    v = m:  (-g'/(1-g)) KL(q̄_t ‖ p̄_t)
    v ≠ m:  τ' Σ_j R_jv (a_j - b_j - b_j log(a_j/b_j)),   a_j = p̄_t(j)/p̄_t(v),  b_j = q̄_t(j)/q̄_t(v)

(Campbell et al. 2022, proposition 2). All are sums of a - b - b log(a/b) ≥ 0, which keeps their digits in
float32.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from .kernel import Kernel, rows
from .process import Process
from .reduction import working_type
from .terms import LARGEST, TINY, TokenTerms

NEARLY_CLEAN = 1 - 1e-12
"""The largest κ of the continuous bound: at more, the moves drown in rounding."""


def kernel_terms(
    process: Process, logits: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, smoothing: float
) -> TokenTerms:
    """Terms (B, N) of logits (B, N, K), as :func:`~d3pm_image.diffusion.loss.bound_terms` takes them; a
    process with a kernel."""
    kernel, masked = cast("Kernel", process.kernel), process.is_masked(x_t)
    z = logits.to(working_type(logits))
    own = torch.where(masked, x_0, x_t)
    log_pi = torch.log_softmax(z + evidence(process, x_t, t).to(z.dtype), -1)
    at_clean = log_pi.gather(-1, x_0[..., None])[..., 0]
    auxiliary = -(1 - smoothing) * at_clean - smoothing * log_pi.mean(-1) if smoothing else -at_clean
    x_hat = torch.softmax(z, -1)
    if process.steps:
        bound = discrete(process, kernel, x_hat, x_0, own, masked, t, -at_clean)
    else:
        bound = continuous(process, kernel, x_hat, x_0, own, masked, t)
    return TokenTerms(bound, auxiliary, at_clean >= log_pi.amax(-1))


def evidence(process: Process, x_t: Tensor, t: Tensor) -> Tensor:
    """log M_t[j, v], what each unmasked token says of every clean code, (B, N, K) float64; 0 at masks. For a
    process with a kernel."""
    kernel, masked = cast("Kernel", process.kernel), process.is_masked(x_t)
    _, kappa = process.schedule.survival(t)
    moves = kernel.moves(torch.ones_like(kappa), kappa)
    seen = rows(moves.clamp_min(TINY).log(), torch.where(masked, torch.zeros_like(x_t), x_t))
    return torch.where(masked[..., None], torch.zeros_like(seen), seen)


def discrete(
    process: Process,
    kernel: Kernel,
    x_hat: Tensor,
    x_0: Tensor,
    own: Tensor,
    masked: Tensor,
    t: Tensor,
    entropy: Tensor,
) -> Tensor:
    """T · KL of the jump from t to t - 1/T, (B, N)."""
    s = (((t * process.steps).round() - 1) / process.steps).clamp_min(0)
    (g_s, kappa_s), (g_t, kappa_t) = process.schedule.survival(s), process.schedule.survival(t)
    first = s <= 0
    # the first step is the cross-entropy; there the divergence is computed of what has no infinities
    kappa_q = torch.where(first, torch.zeros_like(kappa_s), kappa_s)
    before = kernel.moves(torch.ones_like(kappa_s), kappa_q).to(x_hat.dtype)
    step = kernel.moves(kappa_s, kappa_t).to(x_hat.dtype).clamp_min(torch.finfo(x_hat.dtype).tiny)
    one = torch.ones((), dtype=x_hat.dtype, device=x_hat.device)
    seen = torch.where(masked[..., None], one, rows(step, own))
    q, p = rows(before, x_0) * seen, (x_hat @ before) * seen
    kl = divergence(p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)).sum(-1)
    unmasks = ((g_s - g_t) / (1 - g_t).clamp_min(TINY))[:, None].to(kl.dtype)
    term = torch.where(first[:, None], entropy, torch.where(masked, unmasks * kl, kl))
    return process.steps * term


def continuous(
    process: Process, kernel: Kernel, x_hat: Tensor, x_0: Tensor, own: Tensor, masked: Tensor, t: Tensor
) -> Tensor:
    """dL/dt, (B, N)."""
    (g, kappa), (g_slope, kappa_slope) = process.schedule.survival(t), process.schedule.slopes(t)
    moves = kernel.moves(torch.ones_like(kappa), kappa.clamp_max(NEARLY_CLEAN)).to(x_hat.dtype)
    moves = moves.clamp_min(torch.finfo(x_hat.dtype).tiny)
    q, p = rows(moves, x_0), x_hat @ moves
    unmask = torch.where(g < 1, -g_slope / (1 - g).clamp_min(TINY), torch.zeros_like(g)).clamp_max(LARGEST)
    # a clamp keeps the last instant of κ → 0 finite
    pace = kernel.pace(kappa.clamp(1e-12, NEARLY_CLEAN)) * -kappa_slope / kappa.clamp_min(1e-12)
    ratio_p, ratio_q = (value / value.gather(-1, own[..., None]) for value in (p, q))
    jumps = (kernel.rates_of(own, x_hat.dtype) * divergence(ratio_p, ratio_q)).sum(-1)
    unmask, pace = (value[:, None].to(p.dtype) for value in (unmask, pace))
    return torch.where(masked, unmask * divergence(p, q).sum(-1), pace * jumps)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """p - q - q log(p/q), 0 or more, for p, q > 0; its sum over distributions is KL(q ‖ p)."""
    more = p - q
    near = more.abs() < q / 2
    log_ratio = torch.log1p(torch.where(near, more / q, torch.zeros_like(q)))
    return more - q * torch.where(near, log_ratio, p.log() - q.log())
