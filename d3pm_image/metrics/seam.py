"""How visible a border is: that of a repaint, by the jump of the image across it compared with that of the
real image at the same place; and that of an image that repeats, compared with places inside it."""

from __future__ import annotations

import torch
from torch import Tensor

from ..devices import exact_device


def seam_gradients(images: Tensor, masks: Tensor) -> Tensor:
    """Mean absolute difference across the mask's border, (B,) float64, of images (B, C, h, w) with masks (B,
    h, w) bool.

    The mean of ``|x_p - x_q|`` over all pairs p, q of pixels next to each other (sides, not corners) of which
    the mask holds exactly one, and over channels; nan for a mask without a border.
    """
    here = exact_device(images.device)
    images, masks = images.to(here), masks.to(here)
    totals, pairs = torch.zeros(2, len(images), dtype=torch.float64, device=here)
    for axis in (-2, -1):
        length = images.shape[axis] - 1
        jump = (images.narrow(axis, 1, length) - images.narrow(axis, 0, length)).abs().double().mean(1)
        across = masks.narrow(axis, 1, length) != masks.narrow(axis, 0, length)
        totals = totals + (jump * across).flatten(1).sum(1)
        pairs = pairs + across.flatten(1).sum(1)
    return totals / pairs


def seam_ratio(results: Tensor, originals: Tensor, masks: Tensor) -> float:
    """Mean of :func:`seam_gradients` of results, divided by that of the real images at the same places; 1 is
    an invisible seam.

    The means are over all images whose mask has a border, so images that are flat there do not divide by
    nothing.
    """
    return float(seam_gradients(results, masks).nanmean() / seam_gradients(originals, masks).nanmean())


def border_seam(images: Tensor, axis: str = "both", spacing: int = 1) -> float:
    """How visible the border is where images (B, C, h, w) repeat: the mean jump ``|x_p - x_q|`` from the last
    pixel to the first of the next copy, over the mean jump inside; 1 is a border like any other place, nan an
    image without jumps.

    Args:
        axis: Along which the images repeat: x, y or both.
        spacing: Jumps inside are those across every so many pixels, such as the borders of code cells, which
            the border is one of.
    """
    here = exact_device(images.device)
    border, inside = 0.0, 0.0
    for name, dim in (("y", -2), ("x", -1)):
        if axis in (name, "both"):
            jumps = (images - images.roll(1, dim)).abs().to(here).double().movedim(dim, 0).flatten(1).mean(1)
            border += float(jumps[0])
            inside += float(jumps[spacing::spacing].mean())
    return border / inside if inside else float("nan")
