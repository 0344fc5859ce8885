"""A soft seam: the weight of the painted image in each pixel, by its distance from the mask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .regions import bounding, grown


def blending_weights(mask: np.ndarray, drawn: np.ndarray, feather: int) -> np.ndarray:
    """Weight of the painted image in every pixel, (h, w) float in [0, 1].

    1 in the mask and 0 outside the cells that were drawn. Between them, with d pixels to the mask and e to
    the nearest pixel that was not drawn, max(0, 1 - d / min(feather + 1, d + e)): a line from 1 at the mask's
    edge to 0 behind ``feather`` pixels, or where the drawn cells end, whichever comes first.

    Args:
        mask: (h, w) bool, the pixels to repaint, at least one.
        drawn: (h, w) bool, pixels of all cells that were drawn.
        feather: Pixels; 0 is a hard seam.
    """
    weights = mask.astype(np.float64)
    if feather == 0:
        return weights
    # with a margin of one pixel, which has the nearest pixels that were not drawn; the rest of a large image
    # is not processed
    rows, columns = (grown(bounding((drawn | mask).any(1 - axis)), 1, mask.shape[axis]) for axis in (0, 1))
    part = np.s_[slice(*rows), slice(*columns)]
    to_mask = distance(torch.from_numpy(mask[part].copy()), feather + 1)
    to_rest = distance(torch.from_numpy(~(drawn | mask)[part]), feather + 1)
    ramp = (1 - to_mask / (to_mask + to_rest).clamp_max(feather + 1)).clamp_min(0).numpy()
    weights[part] = np.where((drawn & ~mask)[part], ramp, weights[part])
    return weights


def distance(inside: Tensor, most: int) -> Tensor:
    """Steps of a chess king from every pixel to the nearest True one, (h, w) float64, at most ``most``."""
    reached, steps = inside[None].float(), torch.where(inside, 0.0, float(most)).double()
    for step in range(1, min(most, max(inside.shape))):  # none is farther away than the longer side
        wider = F.max_pool2d(reached, 3, stride=1, padding=1)
        steps[(wider > reached)[0]] = step
        reached = wider
    return steps
