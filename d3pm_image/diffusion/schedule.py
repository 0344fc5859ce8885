"""Noise schedules: two survival curves g(t) and κ(t), both 1 at t = 0 and non-increasing.

A schedule is built from the share of corrupted tokens r(t) and the share w of those that carry a random code:

    masked c = (1-w) r,   random b = w r,   clean a = 1-r
    g = 1 - c = 1 - (1-w) r,   κ = a / g = (1-r) / g

w = 0 is pure absorbing (κ ≡ 1), w = 1 pure uniform (g ≡ 1). Everything is computed in float64: ratios of
survival probabilities near t = 0 lose all digits in float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..config import need


@dataclass(frozen=True)
class Schedule:
    """Constant-share hybrid schedule.

    Args:
        corruption: r(t): linear is r = t; cosine is r = sin(πt/2), MaskGIT's cos(πτ/2) with its time τ = 1 - t, which
            spends most of the time at high corruption.
        uniform_share: w in [0, 1].
    """

    corruption: Literal["linear", "cosine"] = "linear"
    uniform_share: float = 0.0

    def __post_init__(self):
        need(self.corruption in ("linear", "cosine"), "process.corruption", self.corruption, "use linear or cosine")
        need(0 <= self.uniform_share <= 1, "process.uniform_share", self.uniform_share, "give a share in [0, 1]")

    def corrupted(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """r(t) and r'(t), float64, any shape, t in [0, 1]."""
        t = t.to(torch.float64)
        if self.corruption == "linear":
            return t, torch.ones_like(t)
        angle = t * (math.pi / 2)
        return torch.sin(angle), torch.cos(angle) * (math.pi / 2)

    def survival(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g(t) and κ(t), float64, of the shape of t."""
        r, _ = self.corrupted(t)
        g = 1 - (1 - self.uniform_share) * r
        return g, torch.where(g > 0, (1 - r) / g.clamp_min(1e-300), torch.zeros_like(g)) if self.uniform_share > 0 else torch.ones_like(g)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g'(t) and κ'(t), float64. κ' = -r'·w/g² for the constant-share family."""
        r, slope = self.corrupted(t)
        g = 1 - (1 - self.uniform_share) * r
        kappa_slope = -slope * self.uniform_share / g.square() if self.uniform_share > 0 else torch.zeros_like(g)
        return -(1 - self.uniform_share) * slope, kappa_slope

    def time_of_mask_share(self, share: Tensor) -> Tensor:
        """The time at which a share of the tokens is masked, 1 - g(t) = share, clamped to [0, 1]; float64.

        Samplers that choose their own number of masks (MaskGIT) use it to find the κ the denoiser was trained
        with at that number. A pure uniform schedule has no masks: time 0.
        """
        if self.uniform_share >= 1:
            return torch.zeros_like(share, dtype=torch.float64)
        r = (share.to(torch.float64) / (1 - self.uniform_share)).clamp(0, 1)
        return r if self.corruption == "linear" else torch.asin(r) * (2 / math.pi)
