"""The D3PM variational bound plus the auxiliary cross-entropy on the posterior logits (Austin et al. 2021, eq. 1 and 5).

    L = L_T + T · E_t[ KL( q(x_s | x_t, x_0) ‖ p(x_s | x_t) ) ] + λ · CE(π)        s = t - 1/T

One step's KL needs only the log-normaliser of the logits z, the two numbers z_i and z_v, and one reduction. With
x̂ = softmax(z), i = x_0, v = x_t, q̄ = κ e_i + ρ, p̄ = κ x̂ + ρ, ρ = (1-κ)/K:

    S     = Σ_j log1p(κ_s x̂_j / ρ_s)
    KLbar = KL(q̄_s ‖ p̄_s) = (κ_s+ρ_s) log((κ_s+ρ_s)/p̄_s(i)) - ρ_s (S - log1p(κ_s x̂_i/ρ_s)),   -log x̂_i where κ_s = 1
    v = m:  KL = ((g_s-g_t)/(1-g_t)) KLbar
    v ≠ m:  h = ((1-κ_ts)/K)/D,  D = κ_t 1[v=i] + ρ_t,  R = q̄_s(v)/p̄_s(v):   KL = h (KLbar - log R) + log1p(h (R-1))
    s = 0:  KL = CE(π), the reconstruction term

and, as T → ∞, the densities dL/dt

    v = m:  (-g'/(1-g)) KLbar          v ≠ m:  ((-κ'/κ)/(K q̄_t(v))) (KLbar + R - log R - 1)

Probability ratios that involve only the schedule are float64; what involves the network is float32 (or the
logits' own type if that is wider).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .posterior import posterior_bias
from .process import Process


@dataclass(frozen=True)
class Terms:
    """Per-token terms, each (B, N), in nats: ``bound`` is the estimate of the bound without L_T (T·KL, or dL/dt);
    ``auxiliary`` is CE(π); ``correct`` tells whether the largest posterior logit is the clean code."""

    bound: Tensor
    auxiliary: Tensor
    correct: Tensor


def low_discrepancy_times(offset: Tensor, batch_size: int, steps: int = 0) -> Tensor:
    """One time an image, stratified over the batch: ((i + offset) mod B)/B-spaced, float64 (B,) in (0, 1].

    Args:
        offset: scalar uniform in [0, 1) shared by the batch (Kingma et al. 2021, variational diffusion models).
        batch_size: B.
        steps: T rounds the times up to 1/T … 1; 0 leaves them continuous.
    """
    places = torch.arange(batch_size, dtype=torch.float64, device=offset.device)
    times = 1 - ((places + offset.to(torch.float64)) / batch_size) % 1.0
    return torch.ceil(times * steps).clamp(1, steps) / steps if steps else times


def bound_terms(process: Process, logits: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor) -> Terms:
    """Terms of the bound at times t.

    Args:
        process: K, schedule and T.
        logits: (B, N, K) leave-one-out logits; half precision is raised to float32.
        x_0: (B, N) clean codes. x_t: (B, N) noisy codes in 0..K. t: (B,) float64 times in (0, 1].
    """
    z = logits if logits.dtype == torch.float64 else logits.float()
    masked = process.is_masked(x_t)
    own = torch.where(masked, x_0, x_t)
    log_x = z - torch.logsumexp(z, -1, keepdim=True)
    log_xi = log_x.gather(-1, x_0[..., None])[..., 0]
    log_xv = log_x.gather(-1, own[..., None])[..., 0]
    same = own == x_0

    auxiliary = _cross_entropy(process, log_xi, log_xv, masked, same, t)
    if process.steps:
        s = ((t * process.steps).round() - 1) / process.steps
        bound = _discrete(process, log_x, log_xi, log_xv, masked, same, t, s)
        bound = process.steps * torch.where((s <= 0)[:, None], auxiliary, bound)
    else:
        bound = _continuous(process, log_x, log_xi, log_xv, masked, same, t)
    best, place = log_x.max(-1)
    bias = _own_bias(process, t, masked, log_xv.dtype)
    guess = torch.where(log_xv + bias > best, own, place)
    return Terms(bound, auxiliary, guess == x_0)


def diffusion_loss(process: Process, terms: Terms, bound: float, auxiliary: float) -> Tensor:
    """bound · (T·KL, mean over tokens) + auxiliary · CE(π), a scalar in nats a token (L_T has no gradient and is left out)."""
    total = terms.bound.new_zeros(())
    if bound:
        total = total + bound * terms.bound.mean()
    if auxiliary:
        total = total + auxiliary * terms.auxiliary.mean()
    return total


def _own_bias(process: Process, t: Tensor, masked: Tensor, dtype: torch.dtype) -> Tensor:
    """ℓ_t on unmasked tokens (capped so that κ = 1 stays finite), 0 on masked ones; (B, N)."""
    bias = posterior_bias(process, t).clamp_max(1e4)[:, None]
    return torch.where(masked, torch.zeros_like(bias), bias).to(dtype)


def _cross_entropy(process: Process, log_xi: Tensor, log_xv: Tensor, masked: Tensor, same: Tensor, t: Tensor) -> Tensor:
    """CE(π) = log(1 + x̂_v (e^ℓ - 1)) - log x̂_i - ℓ 1[v=i], nats, (B, N).

    Written as log((1-x̂_v) + x̂_v e^ℓ), so that it stays finite and exact for every ℓ; with v = i the ℓ cancels and
    what is left is softplus(log(1-x̂_v) - log x̂_v - ℓ).
    """
    bias = _own_bias(process, t, masked, log_xv.dtype)
    log_rest = torch.log1p(-log_xv.exp().clamp_max(1 - torch.finfo(log_xv.dtype).eps))
    kept = F.softplus(log_rest - log_xv - bias)
    replaced = torch.logaddexp(log_rest, log_xv + bias) - log_xi
    return torch.where(masked, -log_xi, torch.where(same, kept, replaced))


def _kl_bar(log_x: Tensor, log_xi: Tensor, kappa: Tensor, rho: Tensor) -> Tensor:
    """KL(κ e_i + ρ ‖ κ x̂ + ρ), (B, N), for κ, ρ of shape (B, 1) float64; -log x̂_i where ρ = 0."""
    dtype = log_x.dtype
    clean = rho <= 0
    ratio = torch.where(clean, torch.zeros_like(rho), kappa / torch.where(clean, torch.ones_like(rho), rho))
    ratio, small, kept = ratio.to(dtype), rho.to(dtype), kappa.to(dtype)
    x_i = log_xi.exp()
    spread = torch.log1p(ratio[..., None] * log_x.exp()).sum(-1)  # the one reduction over K
    own = torch.log1p(ratio * x_i)
    # (κ+ρ)/p̄_i = (1 + κ/ρ) / (1 + κ x̂_i/ρ)
    scrambled = (kept + small) * (torch.log1p(ratio) - own) - small * (spread - own)
    return torch.where(clean, -log_xi, scrambled)


def _curves(process: Process, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """g, κ and ρ = (1-κ)/K at t, each (B, 1) float64."""
    g, kappa = process.schedule.survival(t)
    return g[:, None], kappa[:, None], ((1 - kappa) / process.num_codes)[:, None]


def _discrete(
    process: Process, log_x: Tensor, log_xi: Tensor, log_xv: Tensor, masked: Tensor, same: Tensor, t: Tensor, s: Tensor
) -> Tensor:
    """KL of the jump t → s, nats, (B, N); not valid at s = 0."""
    k, dtype = process.num_codes, log_x.dtype
    g_t, kappa_t, rho_t = _curves(process, t)
    g_s, kappa_s, rho_s = _curves(process, s)
    kl_bar = _kl_bar(log_x, log_xi, kappa_s, rho_s)
    at_mask = ((g_s - g_t) / (1 - g_t).clamp_min(1e-300)).to(dtype) * kl_bar
    if process.schedule.uniform_share == 0:
        return torch.where(masked, at_mask, torch.zeros_like(at_mask))

    kappa_ts = torch.where(kappa_s > 0, kappa_t / kappa_s.clamp_min(1e-300), torch.ones_like(kappa_s))
    hit = same.to(torch.float64)
    h = ((1 - kappa_ts) / k) / (kappa_t * hit + rho_t).clamp_min(1e-300)
    rest = torch.where(
        same,
        (kappa_t + rho_t - (1 - kappa_ts) / k) / (kappa_t + rho_t).clamp_min(1e-300),
        kappa_ts * (1 - kappa_s) / (1 - kappa_t).clamp_min(1e-300),
    )
    log_r = _log_ratio(log_xv, same, kappa_s, rho_s)
    r = log_r.exp()
    h_, rest_ = h.to(dtype), rest.to(dtype)
    # near h = 1 the exact 1-h keeps the digits that log1p(h(R-1)) would lose
    tail = torch.where(h_ > 0.5, torch.log((rest_ + h_ * r).clamp_min(torch.finfo(dtype).tiny)), torch.log1p(h_ * (r - 1)))
    at_code = h_ * (kl_bar - log_r) + tail
    return torch.where(masked, at_mask, at_code)


def _log_ratio(log_xv: Tensor, same: Tensor, kappa: Tensor, rho: Tensor) -> Tensor:
    """log R = log(q̄(v)/p̄(v)) = log(κ 1[v=i] + ρ) - log(κ x̂_v + ρ), (B, N)."""
    dtype = log_xv.dtype
    ratio = (kappa / rho.clamp_min(1e-300)).clamp_max(1e30).to(dtype)
    return torch.where(same, torch.log1p(ratio), torch.zeros_like(log_xv)) - torch.log1p(ratio * log_xv.exp())


def _continuous(process: Process, log_x: Tensor, log_xi: Tensor, log_xv: Tensor, masked: Tensor, same: Tensor, t: Tensor) -> Tensor:
    """dL/dt, nats a unit of time, (B, N)."""
    k, dtype = process.num_codes, log_x.dtype
    g, kappa, rho = _curves(process, t)
    g_slope, kappa_slope = (c[:, None] for c in process.schedule.slopes(t))
    kl_bar = _kl_bar(log_x, log_xi, kappa, rho)
    at_mask = (-g_slope / (1 - g).clamp_min(1e-300)).to(dtype) * kl_bar
    if process.schedule.uniform_share == 0:
        return torch.where(masked, at_mask, torch.zeros_like(at_mask))
    q_v = kappa * same.to(torch.float64) + rho
    # 1/κ' cancels with κ → 0 at t = 1 only in the product; the clamp keeps the last instant finite
    weight = (-kappa_slope / kappa.clamp_min(1e-12)) / (k * q_v).clamp_min(1e-300)
    log_r = _log_ratio(log_xv, same, kappa, rho)
    at_code = weight.to(dtype) * (kl_bar + torch.expm1(log_r) - log_r)
    return torch.where(masked, at_mask, at_code)
