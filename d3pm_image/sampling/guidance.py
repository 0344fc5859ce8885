"""Classifier-free guidance (Ho & Salimans 2022) as a denoiser around a denoiser.

logits = u + w (c - u) on clean-code logits, w = 1 is off. Mixing must happen before a posterior is formed: mixing
posteriors over K + 1 tokens inflates the unmask rate (from 3 % to 51 % at w = 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..contracts import Denoiser, Grid


@dataclass(frozen=True)
class Guided:
    """A denoiser with guidance.

    Args:
        denoiser: Network.
        weight: w.
        no_label: The label that means no label.
    """

    denoiser: Denoiser
    weight: float
    no_label: int

    def __call__(self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid) -> Tensor:
        if self.weight == 1 or bool((labels == self.no_label).all()):
            return self.denoiser(x_t, kappa, labels, grid)
        none = torch.full_like(labels, self.no_label)
        both = self.denoiser(torch.cat([x_t, x_t]), torch.cat([kappa, kappa]), torch.cat([labels, none]), grid)
        with_label, without = both.float().chunk(2)
        return without + self.weight * (with_label - without)
