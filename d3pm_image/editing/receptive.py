"""How far a filled hole disturbs codes: codes outside a mask that differ from those of the whole image.

Cells that the mask touches are redrawn; the cells around them count as known. But the receptive field of an
encoder is larger than a cell, so the codes nearest to a hole are those of an image with a smooth patch. A
ring of cells that are redrawn as well hides them from the denoiser, which then has fewer known cells.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..devices import exact_device
from ..imaging import fill_hidden, hidden_cells
from ..types import Tokenizer

RING = 0
"""Default number of cells around a mask that are redrawn as well.

By :func:`smallest_ring` it would be 1; beyond the first cell, codes are disturbed by what GroupNorm spreads
over the whole image (docs/results/editing_receptive.json). But a redrawn cell says less about the image than
a disturbed one. Completing halves of Fashion-MNIST, every ring lowers the accuracy of labels and raises the
jump across the seam (docs/results/editing_fashion_mnist.json), so none is drawn.
"""


def disturbed_shares(tokenizer: Tokenizer, images: Tensor, masks: Tensor, furthest: int) -> list[float]:
    """Fraction of codes that differ once the mask's pixels are filled in, by distance from the mask.

    Args:
        tokenizer: In eval mode.
        images: (B, C, h, w) float in [0, 1].
        masks: (B, h, w) bool, True = hidden.
        furthest: Largest distance looked at, in cells.

    Returns:
        furthest + 1 shares, of the cells at distance 1 from a cell that the mask touches (side or corner), at
        distance 2 and so on, and at last of all cells further away; nan where there is no such cell.
    """
    differ = tokenizer.encode(images) != tokenizer.encode(fill_hidden(images, masks))
    here = exact_device(images.device)
    shares, inside = [], hidden_cells(masks, tokenizer.downsampling)
    for distance in range(1, furthest + 2):
        within = (
            hidden_cells(masks, tokenizer.downsampling, distance)
            if distance <= furthest
            else torch.ones_like(inside)
        )
        shares.append(float(differ[within & ~inside].to(here).double().mean()))
        inside = within
    return shares


def smallest_ring(shares: list[float], limit: float = 0.05) -> int:
    """The smallest ring beyond which the hole disturbs codes no more than far away: at every further distance
    the fraction of disturbed codes is less than ``limit`` above the last one that is known. A disturbance of
    the whole image cannot be avoided by a ring."""
    known = [share for share in shares if not math.isnan(share)]
    return max((distance for distance, share in enumerate(known, 1) if share - known[-1] >= limit), default=0)
