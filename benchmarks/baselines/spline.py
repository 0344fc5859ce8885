"""Monotone rational-quadratic splines (Durkan, Bekasov, Murray and Papamakarios 2019, section 3.1): an
invertible map of the line.

Inside [-B, B] the map goes through knots (x_k, y_k) with slopes d_k; with θ = (x - x_k)/(x_{k+1} - x_k) and
the mean slope s

    y = y_k + (y_{k+1} - y_k) (s θ² + d_k θ(1-θ)) / (s + (d_{k+1} + d_k - 2s) θ(1-θ))

and outside it is the identity. All parameters 0 give the identity.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

BOUND, SMALLEST = 6.0, 1e-3


class Knots(NamedTuple):
    """The piece that each value falls into: left ends, width, height, slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    left: Tensor
    right: Tensor


def piece(values: Tensor, parameters: Tensor, inverse: bool) -> Knots:
    """Of parameters (…, 3 P - 1): P widths, P heights, P - 1 inner slopes."""
    count = (parameters.shape[-1] + 1) // 3
    widths, heights, slopes = parameters.split([count, count, count - 1], -1)
    sides = []
    for raw in (widths, heights):
        shares = SMALLEST + (1 - SMALLEST * count) * torch.softmax(raw, -1)
        sides.append(F.pad(shares.cumsum(-1), (1, 0)) * 2 * BOUND - BOUND)
    one = math.log(math.expm1(1 - SMALLEST))  # softplus of it, and SMALLEST, is slope 1
    slopes = F.pad(SMALLEST + F.softplus(slopes + one), (1, 1), value=1.0)
    ends = sides[1 if inverse else 0].contiguous()
    number = (torch.searchsorted(ends, values[..., None].contiguous(), right=True) - 1).clamp(0, count - 1)

    def at(table: Tensor, offset: int = 0) -> Tensor:
        return table.gather(-1, number + offset)[..., 0]

    (x, y), (x_1, y_1) = (at(side) for side in sides), (at(side, 1) for side in sides)
    return Knots(x, y, x_1 - x, y_1 - y, at(slopes), at(slopes, 1))


def spline(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """y (…) and log dy/dx (…) of values x (…) and parameters (…, 3 P - 1)."""
    inside = x.abs() < BOUND
    k = piece(x.clamp(-BOUND, BOUND), parameters, inverse=False)
    s, theta = k.height / k.width, ((x.clamp(-BOUND, BOUND) - k.x) / k.width).clamp(0, 1)
    both = theta * (1 - theta)
    below = s + (k.right + k.left - 2 * s) * both
    y = k.y + k.height * (s * theta.square() + k.left * both) / below
    slope = k.right * theta.square() + 2 * s * both + k.left * (1 - theta).square()
    log_slope = 2 * s.log() + slope.log() - 2 * below.log()
    return torch.where(inside, y, x), torch.where(inside, log_slope, torch.zeros_like(x))


def unspline(y: Tensor, parameters: Tensor) -> Tensor:
    """x (…) of y (…): the root in [0, 1] of a quadratic equation in θ."""
    inside = y.abs() < BOUND
    k = piece(y.clamp(-BOUND, BOUND), parameters, inverse=True)
    s, above = k.height / k.width, y.clamp(-BOUND, BOUND) - k.y
    bend = above * (k.right + k.left - 2 * s)
    a, b, c = k.height * (s - k.left) + bend, k.height * k.left - bend, -s * above
    theta = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
    return torch.where(inside, k.x + theta.clamp(0, 1) * k.width, y)
