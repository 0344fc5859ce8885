"""Patterns that repeat with the cells of the codes, which a decoder leaves in areas that should be flat.

The power of such a pattern lies at the frequencies that are multiples of 1/f per pixel, f being the pixels
per side of a cell. Where images are flat they have nearly none there, and a pattern of one level shows.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 0.1 / 255
"""Standard deviation of white noise whose power is added, so that images without any power count."""


def lattice_power(images: Tensor, cell: int) -> Tensor:
    """Power (B, cell² - 1) float64 of images (B, C, h, w) at the frequencies (i/cell, j/cell) per pixel but
    (0, 0), row by row.

    Of the mean over channels, less its own mean, under a Hann window, which keeps the power of slopes and
    borders away from these frequencies. The sides must be multiples of the cell.
    """
    height, width = images.shape[-2:]
    gray = images.double().mean(1)
    windows = [
        torch.hann_window(side, periodic=True, dtype=torch.float64, device=images.device)
        for side in (height, width)
    ]
    window = windows[0][:, None] * windows[1]
    gray = (gray - (gray * window).sum((1, 2), keepdim=True) / window.sum()) * window
    power = torch.fft.fft2(gray).abs().square()
    at = power[:, :: height // cell, :: width // cell].flatten(1)[:, 1:]
    return at + window.square().sum() * FLOOR**2


class Lattice:
    """Running sums of the logarithm of :func:`lattice_power`, of reconstructions and of images.

    Args:
        cell: Pixels per side of a code cell.
    """

    def __init__(self, cell: int):
        self.cell = cell
        self.logs = torch.zeros((), dtype=torch.float64)

    def add(self, images: Tensor, output: Tensor) -> None:
        """Count images (b, C, h, w) and their reconstructions, on a device that has float64."""
        if self.cell > 1 and min(images.shape[-2:]) >= 4 * self.cell:
            both = [lattice_power(x, self.cell).log().sum(0).cpu() for x in (output, images)]
            self.logs = self.logs + (both[0] - both[1])

    def figures(self, count: int) -> dict[str, float]:
        """``lattice``: the largest ratio of reconstructions to images, over frequencies, of the geometric
        mean of their power over ``count`` images. Empty with one pixel per cell, or below four cells per
        side."""
        return {"lattice": float((self.logs / count).exp().max())} if self.logs.ndim else {}
