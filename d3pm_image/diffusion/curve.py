"""Curves r(t): the fraction of tokens that the noise has reached, 0 at t = 0 and 1 at t = 1 (unless noted),
never decreasing.

A curve is three formulas, r(t), its slope and its inverse: an entry of :data:`SHAPES`, by the name that
``process.corruption`` gives. Float64 throughout: survival probabilities are ratios of small differences near
both ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import check

OFFSET = 0.008  # Nichol & Dhariwal 2021
OFFSET_RATE = math.pi / 2 / (1 + OFFSET)
OFFSET_START, OFFSET_SINE = math.cos(OFFSET * OFFSET_RATE), math.sin(OFFSET * OFFSET_RATE)
FIRST, LAST = 1e-5, 1 - 9e-6  # shares that VQ-Diffusion has reached at its first and its last step


@dataclass(frozen=True)
class Curve:
    """One curve, r(t).

    Args:
        name: A key of :data:`SHAPES`.
        power: Exponent of polynomial.
        steps: T of vq_diffusion.

    Raises:
        ConfigError: no such curve, or an impossible exponent or number of steps.
    """

    name: str = "linear"
    power: float = 1.0
    steps: int = 0

    def __post_init__(self) -> None:
        check(self.name in SHAPES, "process.corruption", self.name, f"use one of {', '.join(SHAPES)}")
        check(self.power > 0, "process.power", self.power, "give a positive exponent, such as 2")
        hint = "vq_diffusion is discrete: give at least 2 steps"
        check(self.name != "vq_diffusion" or self.steps >= 2, "process.steps", self.steps, hint)

    def value(self, t: Tensor) -> Tensor:
        """r(t), float64 of the shape of t."""
        return SHAPES[self.name].value(t.to(torch.float64), self)

    def slope(self, t: Tensor) -> Tensor:
        """r'(t), float64 of the shape of t."""
        return SHAPES[self.name].slope(t.to(torch.float64), self)

    def inverse(self, r: Tensor) -> Tensor:
        """The time t in [0, 1] at which r(t) = r, float64; shares beyond the curve's end give 1."""
        return SHAPES[self.name].inverse(r.to(torch.float64).clamp(0, 1), self)


@dataclass(frozen=True)
class Shape:
    """The formulas of a curve; each takes float64 numbers in [0, 1] and the :class:`Curve`, for its settings.

    Args:
        value: t → r(t).
        slope: t → r'(t).
        inverse: r → t.
    """

    value: Callable[[Tensor, Curve], Tensor]
    slope: Callable[[Tensor, Curve], Tensor]
    inverse: Callable[[Tensor, Curve], Tensor]


LINEAR = Shape(lambda t, c: t, lambda t, c: torch.ones_like(t), lambda r, c: r)
"""r = t; for pure masking also the 1/(T-t+1) schedule of D3PM."""

COSINE = Shape(
    lambda t, c: torch.sin(t * (math.pi / 2)),
    lambda t, c: torch.cos(t * (math.pi / 2)) * (math.pi / 2),
    lambda r, c: torch.asin(r) * (2 / math.pi),
)
"""r = sin(πt/2), MaskGIT's mask rate cos(πτ/2) at its time τ = 1-t."""


def offset_value(t: Tensor, curve: Curve) -> Tensor:
    """r = 1 - cos(a + x)/cos a, x the angle passed since the start a; near 0 by 2 sin(a + x/2) sin(x/2)/cos
    a, which keeps its digits."""
    small = 2 * torch.sin((OFFSET + t / 2) * OFFSET_RATE) * torch.sin(t / 2 * OFFSET_RATE) / OFFSET_START
    return torch.where(
        t < 0.5, small, 1 - torch.cos((t + OFFSET) / (1 + OFFSET) * (math.pi / 2)) / OFFSET_START
    ).clamp(0, 1)


def offset_inverse(r: Tensor, curve: Curve) -> Tensor:
    """Inverse of :func:`offset_value`: x is small where arccos loses digits, and taken from its sine
    there."""
    cosine, climbing = (1 - r) * OFFSET_START, OFFSET_START**2 * r * (2 - r)
    climbed = climbing / ((OFFSET_SINE**2 + climbing).sqrt() + OFFSET_SINE)  # sin(a + x) - sin a
    small = torch.asin((OFFSET_START * (climbed + r * OFFSET_SINE)).clamp(0, 1)) / OFFSET_RATE
    return torch.where(
        r < 0.25, small, torch.arccos(cosine.clamp(-1, 1)) * (2 / math.pi) * (1 + OFFSET) - OFFSET
    ).clamp(0, 1)


OFFSET_COSINE = Shape(
    offset_value,
    lambda t, c: torch.sin((t + OFFSET) * OFFSET_RATE) * (OFFSET_RATE / OFFSET_START),
    offset_inverse,
)
"""r = 1 - cos((t+o)/(1+o) π/2)/cos(o/(1+o) π/2), o = 0.008, of multinomial diffusion and D3PM."""

ARCCOS = Shape(
    # the second forms are equal; the first ones lose their digits near 0
    lambda t, c: torch.where(
        t > 0.5,
        torch.arccos((1 - t).clamp(-1, 1)) * (2 / math.pi),
        torch.asin((t / 2).clamp(0, 1).sqrt()) * (4 / math.pi),
    ),
    lambda t, c: (2 / math.pi) / (t * (2 - t)).clamp_min(1e-300).sqrt(),
    lambda r, c: torch.where(
        r > 0.5, 1 - torch.cos(r * (math.pi / 2)), 2 * torch.sin(r * (math.pi / 4)).square()
    ),
)
"""r = (2/π) arccos(1-t) = (4/π) arcsin √(t/2)."""

POLYNOMIAL = Shape(
    lambda t, c: t**c.power,
    lambda t, c: c.power * t ** (c.power - 1),
    lambda r, c: r ** (1 / c.power),
)
"""r = t^power (MD4)."""


def vq_value(t: Tensor, curve: Curve) -> Tensor:
    """Linear in the step i = 1..T from 1e-5 to 1 - 9e-6, and linear from 0 up to the first step."""
    first = 1 / curve.steps
    return torch.where(
        t < first, t * (FIRST * curve.steps), FIRST + (t - first) * ((LAST - FIRST) / (1 - first))
    )


def vq_slope(t: Tensor, curve: Curve) -> Tensor:
    """Slope of :func:`vq_value`."""
    first, ones = 1 / curve.steps, torch.ones_like(t)
    return torch.where(t < first, ones * (FIRST * curve.steps), ones * ((LAST - FIRST) / (1 - first)))


def vq_inverse(r: Tensor, curve: Curve) -> Tensor:
    """Inverse of :func:`vq_value`."""
    first = 1 / curve.steps
    return torch.where(
        r < FIRST, r / (FIRST * curve.steps), first + (r - FIRST) * ((1 - first) / (LAST - FIRST))
    ).clamp(0, 1)


SHAPES: dict[str, Shape] = {
    "linear": LINEAR,
    "cosine": COSINE,
    "offset_cosine": OFFSET_COSINE,
    "arccos": ARCCOS,
    "polynomial": POLYNOMIAL,
    "vq_diffusion": Shape(vq_value, vq_slope, vq_inverse),
}
"""Every curve by its name."""
