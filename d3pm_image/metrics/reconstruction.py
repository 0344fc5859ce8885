"""How well a tokenizer reconstructs images, and how it uses its codes.

Measures are sums over images, in float64 and batch by batch. Memory grows only by one number per image (8
bytes), for the percentiles, and the batch size affects only the last digits of float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..devices import exact_device
from ..pixel_range import ends_with_alpha
from ..tokenizer.similarity import structural_similarity
from ..types import Tokenizer
from .codes import usage_of
from .lattice import Lattice

PERCENTILES = (10, 50, 90, 99)
NEAR_LIMIT = 0.5 / 255  # a pixel this close to 0 or 1 is black or full in 8 bits


def psnr_db(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of pixels in [0, 1], any shape; at most 120."""
    return -10 * mse.clamp_min(1e-12).log10()


class Errors:
    """Running measures of reconstructions of pixels in [0, 1]: ``add`` batches, then read :meth:`figures`.

    Args:
        tokenizer: Gives the number of codes and the pixels of a cell.
        criterion: (reconstructions, images) → a scalar, averaged over images as ``reconstruction_loss``.
    """

    def __init__(self, tokenizer: Tokenizer, criterion: Callable[[Tensor, Tensor], Tensor] | None = None):
        self.num_codes, self.cell, self.criterion = tokenizer.num_codes, tokenizer.downsampling, criterion
        self.errors: list[Tensor] = []
        self.counts = torch.zeros(self.num_codes, dtype=torch.int64)
        self.cells = 0
        self.absolute, self.similar, self.loss = 0.0, 0.0, 0.0
        self.alpha: float | None = None
        nothing = torch.zeros((), dtype=torch.float64)
        self.moments = nothing  # Σ x and Σ x² per pixel, of reconstructions and of images
        self.limits = nothing  # pixels that are black or full, of reconstructions and of images
        self.places = nothing  # Σ of squared errors per pixel position
        self.lattice = Lattice(self.cell)

    def add(self, images: Tensor, output: Tensor, codes: Tensor) -> Tensor:
        """Count images (b, C, h, w), their reconstructions and codes (b, H, W). Returns each image's mean
        squared error, (b,) float64 on the CPU."""
        loss = None if self.criterion is None else float(self.criterion(output, images))
        here = exact_device(images.device)
        images, output = images.to(here), output.to(here)
        difference = (output - images).double()
        square = difference.square()
        error = square.flatten(1).mean(1).cpu()
        self.errors.append(error)
        self.absolute += float(difference.abs().flatten(1).mean(1).sum())
        if ends_with_alpha(images):
            self.alpha = (self.alpha or 0.0) + float(difference[:, -1].abs().flatten(1).mean(1).sum())
        self.places = self.places + square.sum((0, 1)).cpu()
        self.lattice.add(images, output)
        self.similar += float(structural_similarity(output, images).double().sum())
        self.counts += torch.bincount(codes.flatten(), minlength=self.num_codes).cpu()
        self.cells = codes[0].numel()
        pairs = torch.stack([output, images]).double()
        self.moments = self.moments + torch.stack([pairs.sum(1), pairs.square().sum(1)]).cpu()
        self.limits = (
            self.limits + ((pairs < NEAR_LIMIT) | (pairs > 1 - NEAR_LIMIT)).flatten(1).double().sum(1).cpu()
        )
        if loss is not None:
            self.loss += loss * len(images)
        return error

    def figures(self) -> dict[str, float]:
        """See :func:`reconstruction_error`. At least one batch must have been added."""
        error = torch.cat(self.errors)
        count, mse = len(error), error.mean()
        mean, second = self.moments / count
        spread = (second - mean**2).clamp_min(0).mean((1, 2, 3)).sqrt()
        limits = self.limits / (count * mean[0].numel())
        used = {name: float(value) for name, value in usage_of(self.counts.double()).items()}
        return {
            "mse": float(mse),
            "psnr_db": float(psnr_db(mse)),
            "mean_psnr_db": float(psnr_db(error).mean()),
            "mae": self.absolute / count,
            **({} if self.alpha is None else {"alpha_mae": self.alpha / count}),
            "ssim": self.similar / count,
            # numpy's: torch's quantile takes no more than 2^24 numbers
            **{
                f"mse_p{p}": float(value)
                for p, value in zip(PERCENTILES, np.percentile(error.numpy(), PERCENTILES))
            },
            **used,
            "dead_codes": self.num_codes - used["codes_used"],
            "codes_per_image": float(self.cells),
            "contrast": float(spread[0] / spread[1].clamp_min(1e-9)),
            "clipped": float(limits[0] - limits[1]),
            **border_ratio(self.places, self.cell),
            **self.lattice.figures(count),
            **({"reconstruction_loss": self.loss / count} if self.criterion is not None else {}),
        }


def reconstruction_error(
    tokenizer: Tokenizer,
    read: Callable[[list[int]], Tensor],
    count: int,
    batch_size: int = 250,
    criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Errors of reconstructions of pixels in [0, 1], and the use of codes, over ``count`` images.

    Args:
        tokenizer: In eval mode.
        read: Numbers of images → those images (b, C, h, w), float in [0, 1], on the tokenizer's device.
        count: Images 0..count-1 are measured.
        criterion: See :class:`Errors`.

    Returns:
        ``mse``, the mean squared error of all images; ``psnr_db`` of that error, and ``mean_psnr_db``, the
        mean of each image's own (never smaller, and what most papers report; an exact image counts as 120
        dB); ``mae``, the mean absolute error, and ``alpha_mae``, that of alpha alone (colour counts
        premultiplied); ``ssim`` (Wang et al. 2004), averaged over images; ``mse_p10`` to ``mse_p99``,
        percentiles over images; ``codes_used``, ``perplexity``, ``dead_codes`` (never used),
        ``codes_per_image`` (cells of one image); ``contrast``, how much reconstructions differ from image to
        image, as a fraction of how much the images do; ``clipped``, the fraction of pixels at 0 or 1 less
        that of the images; ``border_ratio``, the squared error of the outermost cells divided by that of the
        others (absent if there are no others); ``lattice``, how much power reconstructions have at the
        frequencies that repeat with the cells, as a multiple of the images'
        (:mod:`~d3pm_image.metrics.lattice`: 1 is right, and a visible pattern in flat areas far above;
        absent for one pixel per cell or small images).
    """
    errors = Errors(tokenizer, criterion)
    for start in range(0, count, batch_size):
        images = read(list(range(start, min(start + batch_size, count))))
        codes = tokenizer.encode(images)
        errors.add(images, tokenizer.decode(codes), codes)
    return errors.figures()


def border_ratio(places: Tensor, cell: int) -> dict[str, float]:
    """Mean of an error map (h, w) over the outermost cells of ``cell`` pixels per side, over that of the
    cells inside; empty without any."""
    height, width = places.shape
    if min(height, width) <= 2 * cell:
        return {}
    inside = places[cell : height - cell, cell : width - cell]
    outside = (places.sum() - inside.sum()) / (places.numel() - inside.numel())
    return {"border_ratio": float(outside / inside.mean().clamp_min(1e-12))}
