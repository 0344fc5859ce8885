"""Regions of a grid that a training image declares known, as completing images will: halves, boxes, strokes
and single cells, each or its complement.

What is known stays clean and has no loss; the network is told which tokens these are (``kappa`` of shape
(B, N), see :class:`~d3pm_image.types.Denoiser`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..types import Grid

DRAWS = 8
"""Uniforms per image, besides one per token."""
KINDS = 4
STROKE = 0.25
"""Largest distance of a cell from the middle line of a stroke, as a fraction of a side."""


def known_regions(draws: Tensor, grid: Grid) -> Tensor:
    """Which tokens are declared known, (B, N) bool: at least one per image and not all, where the grid has
    two tokens or more.

    Args:
        draws: (B, DRAWS + N) uniforms in [0, 1): the kind, its complement, its shape, and one per cell.
        grid: (H, W), N = H·W.
    """
    height, width = grid
    device = draws.device
    y = ((torch.arange(height, device=device, dtype=draws.dtype) + 0.5) / height)[None, :, None]
    x = ((torch.arange(width, device=device, dtype=draws.dtype) + 0.5) / width)[None, None, :]
    kind, complement, a, b, c, d, size, first = (value[:, None, None] for value in draws[:, :DRAWS].unbind(1))
    half = torch.where(a < 0.5, y + 0 * x, x + 0 * y) < 0.5
    box = between(y, a, b) & between(x, c, d)
    stroke = distance(y, x, a, b, c, d) < STROKE * size
    scattered = draws[:, DRAWS:].view(-1, height, width) < size
    shapes = torch.stack([half, box, stroke, scattered])
    chosen = (kind * KINDS).long().clamp_max(KINDS - 1)
    known = shapes.gather(0, chosen[None].expand(1, -1, height, width))[0] ^ (complement < 0.5)
    known = known.flatten(1)
    # neither everything nor nothing: one token is turned over
    turned = (first[:, 0] * known.shape[1]).long().clamp_max(known.shape[1] - 1)
    alike = (known.all(1) | ~known.any(1))[:, None]
    return torch.where(alike, known ^ torch.zeros_like(known).scatter(1, turned, True), known)


def between(place: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Whether a coordinate lies between two, in either order."""
    return (place >= torch.minimum(one, other)) & (place < torch.maximum(one, other))


def distance(y: Tensor, x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Distance of every cell from the segment between (y, x) = (a, c) and (b, d)."""
    dy, dx = b - a, d - c
    along = ((y - a) * dy + (x - c) * dx) / (dy * dy + dx * dx).clamp_min(1e-12)
    along = along.clamp(0, 1)
    return ((y - a - along * dy) ** 2 + (x - c - along * dx) ** 2).sqrt()
