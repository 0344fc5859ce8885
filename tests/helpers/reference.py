"""The dense D3PM: every formula as a (K+1)×(K+1) matrix in float64, for K ≤ 5. Slow and plain on purpose."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from d3pm_image.diffusion import Process


def transition(process: Process, s: float, t: float) -> Tensor:
    """Q[a, b] = q(x_t = b | x_s = a), from the definition of the two independent events."""
    k = process.num_codes
    (g_s, g_t), (kappa_s, kappa_t) = process.schedule.survival(torch.tensor([s, t], dtype=torch.float64))
    g = g_t / g_s if g_s > 0 else torch.tensor(1.0)
    kappa = kappa_t / kappa_s if kappa_s > 0 else torch.tensor(1.0)
    matrix = torch.zeros(k + 1, k + 1, dtype=torch.float64)
    matrix[:k, :k] = g * (1 - kappa) / k
    matrix[:k, :k] += torch.eye(k, dtype=torch.float64) * g * kappa
    if process.kernel is not None:
        before, after = process.kernel.time(torch.stack([kappa_s, kappa_t]))
        matrix[:k, :k] = g * exponential(torch.from_numpy(process.kernel.generator), float(after - before))
    matrix[:k, k] = 1 - g
    matrix[k, k] = 1
    return matrix


def exponential(rates: Tensor, time: float) -> Tensor:
    """exp(time · rates) by Taylor's series and squares; torch.matrix_exp is 5e-11 off where the norm is small. Rows are
    made to sum to one again, and time is cut where nothing is left to move."""
    halvings = 2 + math.ceil(math.log2(max(1.0, min(time, 1e6))))
    part = rates * (min(time, 1e6) / 2**halvings)
    term = total = torch.eye(len(rates), dtype=torch.float64)
    for n in range(1, 25):
        term = term @ part / n
        total = total + term
    for _ in range(halvings):
        total = total @ total
        total = total / total.sum(1, keepdim=True)
    return total


def posterior(process: Process, x_0: int, x_t: int, s: float, t: float) -> Tensor:
    """q(x_s | x_t, x_0) over K+1 tokens by Bayes' rule."""
    joint = transition(process, 0, s)[x_0] * transition(process, s, t)[:, x_t]
    return joint / joint.sum()


def reverse_loo(process: Process, x_hat: Tensor, x_t: int, s: float, t: float) -> Tensor:
    """p(x_s | x_t) with the prediction x_hat (K,) in place of the one-hot x_0."""
    clean = torch.cat([x_hat.double(), torch.zeros(1, dtype=torch.float64)])
    joint = (clean @ transition(process, 0, s)) * transition(process, s, t)[:, x_t]
    return joint / joint.sum()


def reverse_mixture(process: Process, pi: Tensor, x_t: int, s: float, t: float) -> Tensor:
    """p(x_s | x_t) = Σ_i π_i q(x_s | x_t, x_0 = i)."""
    total = torch.zeros(process.num_codes + 1, dtype=torch.float64)
    for i in range(process.num_codes):
        if pi[i] > 0:
            total += pi[i] * posterior(process, i, x_t, s, t)
    return total


def kl(q: Tensor, p: Tensor) -> float:
    inside = q > 0
    return float((q[inside] * (q[inside].log() - p[inside].log())).sum())
