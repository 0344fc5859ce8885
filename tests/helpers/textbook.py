"""The textbook chain of D3PM (Austin et al. 2021) for K = 5 codes and a mask: matrices Q_t, their products, Bayes' rule. Nothing here
comes from the package."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

K = 5


def kl(q: Tensor, p: Tensor) -> Tensor:
    return torch.where(q > 0, q * (q.clamp_min(1e-300) / p.clamp_min(1e-300)).log(), 0).sum(-1)


def step_matrix(stay: float, scatter: float, mask: float) -> Tensor:
    """Q_t (K+1, K+1) = stay · I + scatter · 11ᵀ/K on the codes, mask to m; m stays."""
    q = torch.zeros(K + 1, K + 1, dtype=torch.float64)
    q[:K, :K] = scatter / K + stay * torch.eye(K, dtype=torch.float64)
    q[:K, K] = mask
    q[K, K] = 1
    return q


def chain(clean: list[float], masked: list[float]) -> tuple[list[Tensor], list[Tensor]]:
    """Q_t and Q_1 … Q_t for t = 0 … T (both I at 0) from ᾱ_t and γ̄_t, t = 0 … T."""
    steps, products = [torch.eye(K + 1, dtype=torch.float64)], [torch.eye(K + 1, dtype=torch.float64)]
    for t in range(1, len(clean)):
        stay = clean[t] / clean[t - 1] if clean[t - 1] else 1.0
        gone = (masked[t] - masked[t - 1]) / (1 - masked[t - 1]) if masked[t - 1] < 1 else 0.0
        steps.append(step_matrix(stay, 1 - stay - gone, gone))
        products.append(products[-1] @ steps[-1])
    return steps, products


def cosine_chain(count: int):
    """Uniform transitions with ᾱ_t = cos((t/T + s)/(1 + s) π/2), to its value at 0, s = 0.008 (Hoogeboom et al. 2021)."""
    f = [max(0.0, math.cos((t / count + 0.008) / 1.008 * math.pi / 2)) for t in range(count + 1)]
    return chain([value / f[0] for value in f], [0.0] * (count + 1))


def absorbing_chain(count: int):
    """β_t = 1/(T-t+1) to the mask (Austin et al. 2021, section 3.1), as a product of its own."""
    steps, products = [torch.eye(K + 1, dtype=torch.float64)], [torch.eye(K + 1, dtype=torch.float64)]
    for t in range(1, count + 1):
        beta = 1 / (count - t + 1)
        steps.append(step_matrix(1 - beta, 0, beta))
        products.append(products[-1] @ steps[-1])
    return steps, products


def mask_and_replace_chain(count: int):
    """ᾱ_t linear from 0.99999 to 0.000009, and of the rest nine tenths masked, a tenth replaced (Gu et al. 2022)."""
    clean = [1.0] + [0.99999 + (0.000009 - 0.99999) * t / (count - 1) for t in range(count)]
    return chain(clean, [0.9 * (1 - a) for a in clean])


def hybrid_chain(count: int):
    """A tenth replaced, nine tenths masked, at the pace that loses information by 1/T a step; found by bisection."""
    left = (1 - torch.arange(count + 1, dtype=torch.float64) / count) * math.log(K)
    low, high = torch.zeros(count + 1, dtype=torch.float64), torch.ones(count + 1, dtype=torch.float64)
    for _ in range(60):
        middle = (low + high) / 2
        too_much = information(middle, 0.1) > left
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    clean = [1.0, *(1 - high[1:-1]).tolist(), 0.0]
    return chain(clean, [0.9 * (1 - a) for a in clean])


def information(r: Tensor, share: float) -> Tensor:
    """I(x_t; x_0) of codes used equally often, share r (n,) of them corrupted, from the joint tables (n, K, K+1)."""
    r = r[:, None, None]
    kept = (1 - r) * torch.eye(K, dtype=torch.float64) + share * r / K
    joint = torch.cat([kept, ((1 - share) * r).expand(-1, K, 1)], -1) / K
    apart = joint.sum(2, keepdim=True) * joint.sum(1, keepdim=True)
    return kl(joint.flatten(1), apart.flatten(1))


def bayes(x_0: Tensor, x_t: Tensor, q_t: Tensor, q_s: Tensor) -> Tensor:
    """q(x_s | x_t, x_0) (…, K+1) of distributions x_0 (…, K+1) and codes x_t (…): x_t Q_tᵀ ⊙ x_0 Q̄_s, normalised (D3PM, eq. 3)."""
    joint = q_t.T[x_t] * (x_0 @ q_s)
    return joint / joint.sum(-1, keepdim=True)


def surprise(p: Tensor, codes: Tensor) -> Tensor:
    """-log of a code's share (…) of weights p (…, K)."""
    return -(p.gather(-1, codes[..., None])[..., 0] / p.sum(-1)).log()


def one_hot(codes: Tensor) -> Tensor:
    return F.one_hot(codes, K + 1).double()


def with_mask(x_hat: Tensor) -> Tensor:
    return F.pad(x_hat, (0, 1))
