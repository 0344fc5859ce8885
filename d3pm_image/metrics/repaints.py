"""How well a hidden region of images was repainted: error of the hidden pixels, visibility of its border, and
whether anything else changed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..pixel_range import from_levels
from .reconstruction import psnr_db
from .seam import seam_gradients


class Repaints:
    """Running measures of repainted images: ``add`` batches, then read :meth:`figures`. Sums in float64,
    batch by batch, in constant memory."""

    def __init__(self) -> None:
        self.images, self.changed, self.hidden, self.pixels, self.values = 0, 0, 0, 0, 0
        self.squares = 0.0
        self.jumps = {"results": 0.0, "originals": 0.0}
        self.borders = 0

    def add(self, results: Tensor, originals: Tensor, masks: Tensor) -> None:
        """Count uint8 results and originals (b, C, h, w) with masks (b, h, w) bool, True = hidden."""
        known = ~masks
        self.images += len(results)
        self.changed += int(((results != originals).any(1) & known).sum())
        self.hidden += int(masks.sum())
        self.pixels += masks.numel()
        self.values += int(masks.sum()) * results.shape[1]
        shown, real = from_levels(results), from_levels(originals)
        self.squares += float(((shown - real).double().square() * masks[:, None]).sum())
        bordered = torch.isfinite(seam_gradients(real, masks))
        self.borders += int(bordered.sum())
        for name, levels in (("results", shown), ("originals", real)):
            self.jumps[name] += float(seam_gradients(levels, masks)[bordered].sum())

    def figures(self) -> dict[str, float | int | None]:
        """The measures; at least one batch must have been added.

        Returns:
            ``hidden_share``, the fraction of pixels that were hidden; ``mse`` and ``psnr_db`` of all hidden
            pixels, in [0, 1] (colour counts premultiplied); ``seam_gradient`` and ``seam_ratio``, see
            :mod:`.seam`, None where no mask has a border, or originals are flat there; and
            ``known_pixels_changed``, the number of pixels outside masks that are not the original's.
        """
        mse = self.squares / max(self.values, 1)
        here, there = self.jumps["results"], self.jumps["originals"]
        return {
            "hidden_share": round(self.hidden / max(self.pixels, 1), 4),
            "mse": float(f"{mse:.6g}"),
            "psnr_db": round(float(psnr_db(torch.tensor(mse, dtype=torch.float64))), 4),
            "seam_gradient": round(here / self.borders, 5) if self.borders else None,
            "seam_ratio": round(here / there, 4) if there > 0 and math.isfinite(here) else None,
            "known_pixels_changed": self.changed,
        }
