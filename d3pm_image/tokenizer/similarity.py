"""Structural similarity of images (Wang et al. 2004, equations 13 to 16), as a measure and, being
differentiable, as a loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
C_1, C_2 = 0.01**2, 0.03**2  # (K L)² for pixels in [0, 1]


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of each pair of images, (B,) float32 in [-1, 1]; 1 where they are equal.

    Statistics are weighed by a Gaussian of 11 pixels with σ = 1.5, at places where it lies within the image
    (images with a shorter side take the largest odd window that fits), channel by channel.

    Args:
        a, b: (B, C, h, w), pixels in [0, 1].
    """
    channels, side = a.shape[1], min(a.shape[2:])
    size = min(WINDOW, side if side % 2 else side - 1)
    with torch.autocast(a.device.type, enabled=False):  # variances are differences of near numbers
        a, b = a.float(), b.float()
        place = torch.arange(size, device=a.device) - size // 2
        weights = torch.exp(-(place**2) / (2 * SIGMA**2))
        weights = (weights / weights.sum()).expand(5 * channels, 1, size)
        moments = torch.cat([a, b, a * a, b * b, a * b], 1)
        moments = F.conv2d(moments, weights[:, :, :, None], groups=5 * channels)
        moments = F.conv2d(moments, weights[:, :, None, :], groups=5 * channels)
        mean_a, mean_b, square_a, square_b, product = moments.chunk(5, 1)
        covariance = product - mean_a * mean_b
        variances = square_a - mean_a**2 + square_b - mean_b**2
        light = (2 * mean_a * mean_b + C_1) / (mean_a**2 + mean_b**2 + C_1)
        return (light * (2 * covariance + C_2) / (variances + C_2)).flatten(1).mean(1)
