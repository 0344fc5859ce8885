"""The terms of the loss at one token, as scalar formulas of the statistics of its logits, and their
derivatives.

With x̂ = softmax(z) the leave-one-out prediction, i = x_0, v = x_t, q̄ = κ e_i + ρ, p̄ = κ x̂ + ρ,
ρ = (1-κ)/K, r = κ/ρ:

    KLbar = KL(q̄_s ‖ p̄_s) = (κ_s+ρ_s) (log1p(r) - log1p(r x̂_i)) - ρ_s (S - log1p(r x̂_i)),
            -log x̂_i where ρ_s = 0
    v = m:  KL = ((g_s-g_t)/(1-g_t)) KLbar
    v ≠ m:  h = ((1-κ_ts)/K)/D,  D = κ_t 1[v=i] + ρ_t,  R = q̄_s(v)/p̄_s(v):
            KL = h (KLbar - log R) + log1p(h (R-1))
    s = 0:  KL = CE(π), the reconstruction term;   π = softmax(z + ℓ_t onehot(v)),  e^ℓ - 1 = K κ_t/(1-κ_t)

and, as T → ∞, the densities dL/dt

    v = m:  (-g'/(1-g)) KLbar          v ≠ m:  ((-κ'/κ)/(K q̄_t(v))) (KLbar + R - log R - 1)

Ratios that involve only the schedule are float64; what involves the network is float32 (float64 for double
logits).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .process import Process
from .reduction import Statistics

TINY = 1e-300
CERTAIN = 1e4  # stands for ℓ = ∞, where κ = 1
LARGEST = 1e30  # of a coefficient: still finite in float32 after a product with a term
# where softplus(x) may be taken for x: e^-40 is below float64's precision (torch's own 20 is not)
SOFTPLUS_LINEAR = 40.0


class Coefficients(NamedTuple):
    """Coefficients of the schedule at the times of a batch, each (B,) float64; ``same`` is v = i, ``other`` v
    ≠ i."""

    ratio: Tensor  # κ/ρ where the sum S is needed, else 0
    kappa: Tensor
    rho: Tensor
    at_mask: Tensor  # weight of KLbar at a mask
    at_same: Tensor  # h, or the continuous weight
    at_other: Tensor
    rest_same: Tensor  # 1 - h, exactly (discrete)
    rest_other: Tensor
    bias: Tensor  # ℓ_t
    odds: Tensor  # log(e^ℓ - 1)
    first: Tensor  # 1 where s = 0
    scale: Tensor  # T, or 1


def coefficients(process: Process, t: Tensor) -> Coefficients:
    """Coefficients at times t (B,) in (0, 1]; discrete processes jump from t to s = t - 1/T."""
    k, schedule = process.num_codes, process.schedule
    g_t, kappa_t = schedule.survival(t)
    rho_t = (1 - kappa_t) / k
    odds = k * kappa_t / (1 - kappa_t)
    zero, one = torch.zeros_like(g_t), torch.ones_like(g_t)
    if process.steps:
        s = (((t * process.steps).round() - 1) / process.steps).clamp_min(0)
        g_s, kappa = schedule.survival(s)
        rho = (1 - kappa) / k
        at_mask = (g_s - g_t) / (1 - g_t).clamp_min(TINY)
        kappa_ts = torch.where(kappa > 0, kappa_t / kappa.clamp_min(TINY), one)
        moved = (1 - kappa_ts) / k
        at_same, at_other = moved / (kappa_t + rho_t).clamp_min(TINY), moved / rho_t.clamp_min(TINY)
        rest_same = (kappa_t + rho_t - moved) / (kappa_t + rho_t).clamp_min(TINY)
        rest_other = kappa_ts * (1 - kappa) / (1 - kappa_t).clamp_min(TINY)
        first, scale = (s <= 0).to(g_t.dtype), one * process.steps
    else:
        kappa, rho = kappa_t, rho_t
        g_slope, kappa_slope = schedule.slopes(t)
        # where 1 - g or 1 - κ underflows nothing is masked or replaced: no weight, rather than an infinite
        # one times 0
        at_mask = torch.where(g_t < 1, -g_slope / (1 - g_t).clamp_min(TINY), zero).clamp_max(LARGEST)
        rate = -kappa_slope / kappa_t.clamp_min(1e-12) / k  # the clamp keeps the last instant of κ → 0 finite
        rate = torch.where(rho > 0, rate, zero)
        at_same = (rate / (kappa_t + rho_t).clamp_min(TINY)).clamp_max(LARGEST)
        at_other = (rate / rho_t.clamp_min(TINY)).clamp_max(LARGEST)
        rest_same, rest_other, first, scale = zero, zero, zero, one
    ratio = torch.where(rho > 0, kappa / rho.clamp_min(TINY), zero).clamp_max(LARGEST)
    bias, log_odds = torch.log1p(odds).clamp_max(CERTAIN), odds.log().clamp(-CERTAIN, CERTAIN)
    return Coefficients(
        ratio, kappa, rho, at_mask, at_same, at_other, rest_same, rest_other, bias, log_odds, first, scale
    )


class TokenTerms(NamedTuple):
    """Each of the shape of its inputs, in nats: the bound's term (T·KL, or dL/dt), the (smoothed) CE(π), and
    whether the largest posterior logit is the clean code."""

    bound: Tensor
    auxiliary: Tensor
    correct: Tensor


def token_terms(
    stats: Statistics,
    c: Coefficients,
    masked: Tensor,
    same: Tensor,
    discrete: bool,
    smoothing: float,
    num_codes: int,
) -> TokenTerms:
    """Terms from statistics, with c, masked (v = m) and same (v = i) of the statistics' shape or one that
    broadcasts to it."""
    c = Coefficients(*(value.to(stats.lse.dtype) for value in c))
    log_xi, log_xv = stats.z_i - stats.lse, stats.z_v - stats.lse
    log_rest = torch.log1p(-log_xv.exp().clamp_max(1 - torch.finfo(log_xv.dtype).eps))  # log(1 - x̂_v)
    certain = ~masked & (c.bias >= CERTAIN)
    kept = F.softplus(log_rest - log_xv - c.bias, threshold=SOFTPLUS_LINEAR)  # with v = i the ℓ cancels
    # whatever its logit is, -inf included
    kept = torch.where(certain, torch.zeros_like(kept), kept)
    normaliser = torch.logaddexp(log_rest, log_xv + c.bias)  # of π, less that of x̂
    entropy = torch.where(masked, -log_xi, torch.where(same, kept, normaliser - log_xi))

    kl_bar = _kl_bar(c, log_xi, stats.spread)
    at_code, log_r = torch.where(same, c.at_same, c.at_other), _log_ratio(c, log_xv, same)
    if discrete:
        rest, r = torch.where(same, c.rest_same, c.rest_other), log_r.exp()
        # near h = 1 the exact 1-h keeps the digits that log1p(h(R-1)) would lose
        tail = torch.where(
            at_code > 0.5,
            torch.log((rest + at_code * r).clamp_min(torch.finfo(r.dtype).tiny)),
            torch.log1p(at_code * (r - 1)),
        )
        code = _weighted(at_code, kl_bar - log_r) + tail
    else:
        code = _weighted(at_code, kl_bar + torch.expm1(log_r) - log_r)
    bound = c.scale * torch.where(
        c.first > 0, entropy, torch.where(masked, _weighted(c.at_mask, kl_bar), code)
    )

    auxiliary = entropy
    if smoothing:
        zero = torch.zeros_like(log_xi)
        mean = stats.mean + torch.where(masked, zero, c.bias / num_codes - normaliser) - stats.lse
        auxiliary = torch.where(certain, entropy, (1 - smoothing) * entropy - smoothing * mean)
    best = stats.z_i >= stats.top
    lifted = stats.z_v + c.bias
    correct = torch.where(masked, best, torch.where(same, lifted >= stats.top, best & (lifted < stats.top)))
    return TokenTerms(bound, auxiliary, correct)


def token_gradient(
    stats: Statistics,
    c: Coefficients,
    masked: Tensor,
    same: Tensor,
    discrete: bool,
    smoothing: float,
    w_bound: Tensor,
    w_aux: Tensor,
) -> Statistics:
    """Derivatives of w_bound · bound + w_aux · auxiliary by each statistic (none by ``top``)."""
    c = Coefficients(*(value.to(stats.lse.dtype) for value in c))
    log_xi, log_xv = stats.z_i - stats.lse, stats.z_v - stats.lse
    zero, one = torch.zeros_like(log_xi), torch.ones_like(log_xi)

    x_v = log_xv.exp().clamp_max(1 - torch.finfo(log_xv.dtype).eps)
    u = torch.log1p(-x_v) - log_xv - c.bias
    certain = ~masked & (c.bias >= CERTAIN)
    kept = torch.where(
        u > 0, torch.sigmoid(u) / (1 - x_v), (-log_xv - c.bias).clamp_max(80.0).exp() * torch.sigmoid(-u)
    )
    kept = torch.where(certain, zero, kept)
    lifted = torch.sigmoid(log_xv + c.odds)  # of the normaliser of π by log x̂_v
    entropy_i = torch.where(same & ~masked, zero, -one)
    entropy_v = torch.where(masked, zero, torch.where(same, -kept, lifted))

    scrambled = c.rho > 0
    own = torch.where(scrambled, -c.kappa * _share(c, log_xi), -one)
    at_code, log_r = torch.where(same, c.at_same, c.at_other), _log_ratio(c, log_xv, same)
    if discrete:
        rest, hr = torch.where(same, c.rest_same, c.rest_other), at_code * log_r.exp()
        by_log_r = hr / (rest + hr).clamp_min(torch.finfo(hr.dtype).tiny) - at_code
    else:
        by_log_r = at_code * torch.expm1(log_r)
    weight = torch.where(masked, c.at_mask, at_code)
    first = c.first > 0
    w = w_bound * c.scale
    through = torch.where(first, zero, w)
    by_i = through * weight * own
    by_v = torch.where(masked, zero, -through * by_log_r * _share(c, log_xv))
    by_spread = torch.where(scrambled, -through * weight * c.rho, zero)

    spread_out = torch.where(certain, zero, w_aux * smoothing) if smoothing else zero
    w_entropy = torch.where(first, w, zero) + w_aux - spread_out
    by_i = by_i + w_entropy * entropy_i
    by_v = by_v + w_entropy * entropy_v + torch.where(masked, zero, spread_out * lifted)
    return Statistics(spread_out - by_i - by_v, by_i, by_v, by_spread, zero, -spread_out)


def _weighted(weight: Tensor, term: Tensor) -> Tensor:
    """weight · term, and 0 for weight 0 even where the term is infinite (a clean code that the network rules
    out)."""
    return torch.where(weight > 0, weight * term, torch.zeros_like(term))


def _kl_bar(c: Coefficients, log_xi: Tensor, spread: Tensor) -> Tensor:
    own = torch.log1p(c.ratio * log_xi.exp())
    scrambled = (c.kappa + c.rho) * (torch.log1p(c.ratio) - own) - c.rho * (spread - own)
    return torch.where(c.rho > 0, scrambled, -log_xi)


def _log_ratio(c: Coefficients, log_xv: Tensor, same: Tensor) -> Tensor:
    """log R = log(κ 1[v=i] + ρ) - log(κ x̂_v + ρ)."""
    return torch.where(same, torch.log1p(c.ratio), torch.zeros_like(log_xv)) - torch.log1p(
        c.ratio * log_xv.exp()
    )


def _share(c: Coefficients, log_x: Tensor) -> Tensor:
    """r x̂/(1 + r x̂), the derivative of log1p(r x̂) by log x̂."""
    q = c.ratio * log_x.exp()
    return q / (1 + q)
