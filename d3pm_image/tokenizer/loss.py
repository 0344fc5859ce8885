"""Reconstruction loss of the tokenizer: weighted squared and absolute error on pixels in [0, 1]."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..config import TokenizerLossConfig

# squared errors on [0, 1] are near 0.01; this scale puts a loss weight of 1 on the footing of the commitment loss
L2_SCALE = 10.0


def reconstruction_loss(output: Tensor, images: Tensor, config: TokenizerLossConfig) -> Tensor:
    """Scalar loss of reconstructions (B, C, h, w) against images (B, C, h, w) in [0, 1]."""
    total = output.new_zeros((), dtype=images.dtype)
    if config.l2:
        total = total + config.l2 * L2_SCALE * F.mse_loss(output.float(), images)
    if config.l1:
        total = total + config.l1 * F.l1_loss(output.float(), images)
    return total
