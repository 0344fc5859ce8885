"""How well a tokenizer gives images back, and how it uses its codes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..contracts import Tokenizer
from ..tokenizer.similarity import structural_similarity
from .codes import usage

PERCENTILES = (10, 50, 90, 99)
NEAR_LIMIT = 0.5 / 255  # a pixel this close to 0 or 1 is black or full in 8 bits


def psnr_db(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of pixels in [0, 1], any shape; at most 120."""
    return -10 * mse.clamp_min(1e-12).log10()


def reconstruction_error(
    tokenizer: Tokenizer,
    read: Callable[[list[int]], Tensor],
    count: int,
    batch_size: int = 250,
    judge: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Errors of reconstructions of pixels in [0, 1], and the use of codes, over ``count`` images.

    Args:
        tokenizer: In eval mode.
        read: Numbers of images → those images (b, C, h, w), float in [0, 1], on the tokenizer's device.
        count: Images 0..count-1 are judged.
        judge: (reconstructions, images) → a scalar, averaged over images as ``judged``.

    Returns:
        ``mse``, ``psnr_db`` of it, ``ssim`` (Wang et al. 2004); ``mse_p10`` to ``mse_p99``, percentiles over images; ``codes_used``,
        ``perplexity``, ``dead_codes`` (never used), ``codes_per_image`` (cells of one image); ``contrast``, how much reconstructions differ
        from image to image as a share of how much the images do; ``clipped``, the share of pixels at 0 or 1 over that of the images;
        ``border_ratio``, the squared error of the outermost cells over that of the others (absent where there are no others).
    """
    errors, similar, codes, judged, moments, limits, places = [], [], [], 0.0, 0.0, 0.0, 0.0
    for start in range(0, count, batch_size):
        images = read(list(range(start, min(start + batch_size, count))))
        found = tokenizer.encode(images)
        output = tokenizer.decode(found)
        square = (output - images).square()
        errors.append(square.flatten(1).mean(1))
        places = places + square.mean((0, 1)).double() * len(images) / count
        similar.append(structural_similarity(output, images))
        codes.append(found)
        pairs = torch.stack([output, images]).double()
        moments = moments + torch.stack([pairs.sum(1), pairs.square().sum(1)])
        limits = limits + ((pairs < NEAR_LIMIT) | (pairs > 1 - NEAR_LIMIT)).flatten(1).double().mean(1) * len(images) / count
        if judge is not None:
            judged += float(judge(output, images)) * len(images) / count
    error, found = torch.cat(errors).double(), torch.cat(codes)
    mean, second = moments / count
    spread = (second - mean**2).clamp_min(0).mean((1, 2, 3)).sqrt()
    used = {name: float(value) for name, value in usage(found, tokenizer.num_codes).items()}
    return {
        "mse": float(error.mean()),
        "psnr_db": float(psnr_db(error.mean())),
        "ssim": float(torch.cat(similar).double().mean()),
        **{f"mse_p{p}": float(error.quantile(p / 100)) for p in PERCENTILES},
        **used,
        "dead_codes": tokenizer.num_codes - used["codes_used"],
        "codes_per_image": float(found[0].numel()),
        "contrast": float(spread[0] / spread[1].clamp_min(1e-9)),
        "clipped": float(limits[0] - limits[1]),
        **border_ratio(places, tokenizer.downsampling),
        **({"judged": judged} if judge is not None else {}),
    }


def border_ratio(places: Tensor, cell: int) -> dict[str, float]:
    """Mean of an error map (h, w) over the outermost cells of ``cell`` pixels a side, over that of the cells inside; empty without any."""
    height, width = places.shape
    if min(height, width) <= 2 * cell:
        return {}
    inside = places[cell : height - cell, cell : width - cell]
    outside = (places.sum() - inside.sum()) / (places.numel() - inside.numel())
    return {"border_ratio": float(outside / inside.mean().clamp_min(1e-12))}
