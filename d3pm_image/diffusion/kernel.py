"""Random codes that land near the code they replace: D3PM's structured transitions (Austin et al. 2021,
appendix A.2) as one symmetric rate matrix.

With R the rates between K codes, symmetric and with rows that sum to zero, a token that no mask has absorbed
moves from s to t by

    M_ts = exp((τ_t - τ_s) R) = V exp(-(τ_t - τ_s) Λ) Vᵀ

so one eigendecomposition gives the jump between any two times; jumps compose, M is symmetric and doubly
stochastic, and tends to the uniform distribution. Two choices of R, from the distances d between codes:

    gaussian   R_ij ∝ exp(-d_ij²/2σ²)                        (A.2.2 at one width; its steps compose)
    nearest    R_ij ∝ 1/2 for each of the two that counts the other among its nearest   (A.2.4)

at the mean rate (K-1)/K of the uniform kernel u - I, of which a share FLOOR is mixed in: every code can be
reached, and no entry of M drowns in rounding. The clock: τ_t is the time at which a code chosen evenly has
lost as much information as the uniform kernel takes at κ_t, whatever κ is. So a schedule means the same noise
with any kernel, and D3PM's mutual-information schedule holds for all.

Cost per batch: matrices of 8 B K² bytes and 2 B K³ operations each, 2 B N K² for what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import check

FLOOR = 1e-3
"""Share of the moves that go to any code."""
MOST_CODES = 512
"""More would take matrices of gigabytes for a batch."""
POINTS = 48
ENDLESS = 1e30
"""Stands for τ = ∞, where κ = 0."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """How a random code depends on the one that it replaces; the uniform kernel is none of these.

    Args:
        generator: R, (K, K) float64.
        rates: Λ without the 0 of the uniform distribution, (K-1,).
        modes: Their columns of V, (K, K-1).
        clock: log(-log κ) and log τ at points of the clock, (2, points), in rising order.
    """

    generator: np.ndarray
    rates: np.ndarray
    modes: np.ndarray
    clock: np.ndarray

    @classmethod
    def of(cls, kind: str, vectors: np.ndarray, neighbours: int) -> Kernel:
        """A kernel over codes that stand for vectors (K, D), near each other for codes that look alike.

        Args:
            kind: gaussian or nearest.
            neighbours: Nearest codes that nearest counts; the median distance to the last of them is σ.

        Raises:
            ConfigError: fewer than 2 codes or more than 512, or codes that do not differ.
        """
        count = len(vectors)
        hint = f"needs 2 to {MOST_CODES} codes, and there are {count}; use uniform"
        check(2 <= count <= MOST_CODES, "process.kernel", kind, hint)
        places = np.asarray(vectors, dtype=np.float64)
        distance = np.sqrt(np.square(places[:, None] - places[None]).sum(-1))
        weights = near(distance, min(neighbours, count - 1), kind)
        return cls.from_weights(weights)

    @classmethod
    def from_weights(cls, weights: np.ndarray) -> Kernel:
        """The kernel whose moves between two codes have rates in proportion to symmetric weights (K, K)."""
        count = len(weights)
        weights = weights * (1 - np.eye(count))
        weights = weights / weights.sum(1).mean() * ((1 - FLOOR) * (count - 1) / count)
        generator = weights - np.diag(weights.sum(1)) + FLOOR * (1 / count - np.eye(count))
        values, vectors = np.linalg.eigh(generator)
        rates, modes = -values[:-1], vectors[:, :-1]  # the last is 0, of the uniform distribution
        return cls(generator, rates, modes, same_information(rates, modes))

    def time(self, kappa: Tensor) -> Tensor:
        """τ at which the kernel has taken as much information as the uniform one at κ; float64 of its
        shape."""
        return self._clock(kappa)[0]

    def pace(self, kappa: Tensor) -> Tensor:
        """dτ/d(-log κ), float64 of the shape of κ."""
        return self._clock(kappa)[1]

    def _clock(self, kappa: Tensor) -> tuple[Tensor, Tensor]:
        """τ, a line from point to point of log τ over log(-log κ), with slope 1 outside; and its slope."""
        points, values = torch.as_tensor(self.clock, device=kappa.device)
        uniform = -torch.log(kappa.to(torch.float64))
        x = torch.log(uniform)
        slopes = torch.nn.functional.pad(values.diff() / points.diff(), (1, 1), value=1.0)
        after = torch.searchsorted(points, x)
        at = (after - 1).clamp_min(0)
        tau = torch.exp(values[at] + slopes[after] * (x - points[at])).clamp_max(ENDLESS)
        return tau, slopes[after] * torch.where(uniform > 0, tau / uniform, tau)

    def moves(self, kappa_s: Tensor, kappa_t: Tensor) -> Tensor:
        """M_ts of each image, (B, K, K) float64, for κ of shape (B,); without any κ left at s it is the
        identity. Images at the same times, such as those of a sampler, share the work."""
        rates, modes = (torch.as_tensor(value, device=kappa_t.device) for value in (self.rates, self.modes))
        spans = (self.time(kappa_t) - self.time(kappa_s)).clamp_min(0)
        span, image = spans.unique(return_inverse=True)
        # M - 1 rather than M: what a short jump hardly ever does keeps its digits
        moved = (modes * torch.expm1(-rates * span[:, None])[:, None]) @ modes.T
        moved.diagonal(dim1=1, dim2=2).add_(1)
        return moved.clamp_min_(0)[image]

    def jump(self, codes: Tensor, kappa_s: Tensor, kappa_t: Tensor, uniforms: Tensor) -> Tensor:
        """Codes (B, N) moved from s to t, κ of shape (B,), by uniforms (B, N): (B, N) int64."""
        return draw_moves(self.moves(kappa_s, kappa_t), codes, uniforms)

    def weights(
        self, x_hat: Tensor, codes: Tensor, kappa_s: Tensor, kappa_t: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x̂ M_s, and with it (x̂ M_s)_j M_ts[j, v] of unmasked tokens v, both (B, N, K) float64.

        Args:
            x_hat: (B, N, K) float64 weights of clean codes. codes: (B, N) v. kappa_s, kappa_t: (B,).
        """
        before = x_hat @ self.moves(torch.ones_like(kappa_s), kappa_s)
        return before, before * rows(self.moves(kappa_s, kappa_t), codes)

    def rates_of(self, codes: Tensor, kind: torch.dtype) -> Tensor:
        """Rates (B, N, K) between codes (B, N) and all others."""
        return torch.as_tensor(self.generator, device=codes.device).to(kind)[codes]


def near(distance: np.ndarray, neighbours: int, kind: str) -> np.ndarray:
    """How often a code moves to another, symmetric (K, K), up to a factor."""
    apart = np.where(np.eye(len(distance), dtype=bool), np.inf, distance)
    if kind == "nearest":
        closest = np.argsort(apart, 1, kind="stable")[:, :neighbours]
        chosen = np.zeros_like(distance)
        np.put_along_axis(chosen, closest, 0.5, 1)
        return chosen + chosen.T
    width = float(np.median(np.sort(apart, 1)[:, neighbours - 1]))
    check(width > 0, "process.kernel", kind, "most codes stand for the same; use uniform")
    return np.exp(-np.square(distance / width) / 2)


def information_left(kappa: np.ndarray, count: int) -> np.ndarray:
    """Nats that a token says of its clean code at κ under the uniform kernel, codes being used evenly."""
    rho = (1 - kappa) / count
    return np.log(count) + (kappa + rho) * np.log(kappa + rho) + (count - 1) * rho * np.log(rho)


def same_information(rates: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """log(-log κ) and log τ at times at which both kernels leave equally much of the information."""
    count = len(modes)
    tau = np.exp(np.linspace(np.log(1e-6), np.log(8 / rates.min()), POINTS))
    left = []
    for each in tau:
        matrix = (modes * np.expm1(-rates * each)) @ modes.T + np.eye(count)
        matrix = np.clip(matrix, 1e-300, None)
        left.append(np.log(count) + (matrix * np.log(matrix)).sum() / count)
    low, high = np.full(POINTS, -20.0), np.full(POINTS, 5.0)  # of log(-log κ)
    for _ in range(60):
        middle = (low + high) / 2
        more = information_left(np.exp(-np.exp(middle)), count) > left
        low, high = np.where(more, middle, low), np.where(more, high, middle)
    return np.stack([low, np.log(tau)])


def rows(matrices: Tensor, codes: Tensor) -> Tensor:
    """Rows (B, N, K) of matrices (B, K, K) at codes (B, N)."""
    return matrices[torch.arange(len(codes), device=codes.device)[:, None], codes]


def draw_moves(matrices: Tensor, codes: Tensor, uniforms: Tensor) -> Tensor:
    """Draw from the rows of matrices (B, K, K) float64 at codes (B, N), by uniforms (B, N): (B, N) int64.

    All rows lie one after the other on one line, each of length 1, and a search finds the place.
    """
    count = matrices.shape[-1]
    row = torch.arange(len(codes), device=codes.device)[:, None] * count + codes
    ends = matrices.cumsum(-1).flatten(0, 1)
    line = ends / ends[:, -1:] + torch.arange(len(ends), device=codes.device)[:, None]
    found = torch.searchsorted(line.flatten(), (row + uniforms).flatten(), right=True).view(codes.shape)
    return (found - row * count).clamp(0, count - 1)
