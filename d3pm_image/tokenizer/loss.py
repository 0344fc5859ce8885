"""Reconstruction losses that need no trained network: squared and absolute error, brightness steps,
structure; pixels in [0, 1].

Those of a trained network are in perceptual.py, those of a discriminator in adversarial.py.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..config import TokenizerLossConfig
from .similarity import structural_similarity

# squared errors on [0, 1] are near 0.01; this scale puts a loss weight of 1 on the footing of the commitment
# loss
L2_SCALE = 10.0
SCALES = 3


def reconstruction_loss(
    output: Tensor, images: Tensor, config: TokenizerLossConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """Scalar loss of reconstructions (B, C, h, w) against images (B, C, h, w) in [0, 1], and its terms before
    weighing, by name."""
    output = output.float()
    terms = {}
    if config.l2:
        terms["l2"] = L2_SCALE * F.mse_loss(output, images)
    if config.l1:
        terms["l1"] = F.l1_loss(output, images)
    if config.gradient:
        terms["gradient"] = gradient_error(output, images)
    if config.ssim:
        terms["ssim"] = 1 - structural_similarity(output, images).mean()
    total = sum((getattr(config, name) * term for name, term in terms.items()), output.new_zeros(()))
    return total, terms


def gradient_error(output: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, right and below, at full, half and quarter
    size (the gradient matching term of Li & Snavely 2018, MegaDepth, section 4.2, on brightness). A constant
    shift of brightness costs nothing."""
    error, total, used = output - images, output.new_zeros(()), 0
    for _ in range(SCALES):
        if min(error.shape[2:]) < 2:
            break
        total = total + error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()
        used, error = used + 1, F.avg_pool2d(error, 2)
    return total / max(1, used)
