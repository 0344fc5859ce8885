"""The denoiser in a chosen precision, with its head at the wanted positions alone."""

from __future__ import annotations

import torch
from torch import Tensor

from .transformer import Transformer


def logits_of(
    denoiser: Transformer,
    bf16: bool,
    x_t: Tensor,
    kappa: Tensor,
    labels: Tensor,
    grid: tuple[int, int],
    where: Tensor | None = None,
) -> Tensor:
    """Logits (B, N, K) float32; tensors as in :class:`~d3pm_image.contracts.Denoiser`.

    Args:
        bf16: Run under autocast to bfloat16.
        where: (B, N) bool, the positions that are wanted: the head runs at these alone, and logits elsewhere are 0. Default all.
    """
    with torch.autocast(x_t.device.type, torch.bfloat16, enabled=bf16):
        if where is None or bool(where.all()):
            return denoiser(x_t, kappa, labels, grid).float()
        features = denoiser(x_t, kappa, labels, grid, head=False)
        wanted = denoiser.head(features[where]).float()
    logits = wanted.new_zeros(*x_t.shape, wanted.shape[-1])
    logits[where] = wanted
    return logits
