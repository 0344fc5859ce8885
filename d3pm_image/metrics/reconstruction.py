"""How well a tokenizer gives images back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..contracts import Tokenizer
from ..tokenizer.similarity import structural_similarity
from .codes import usage


def psnr_db(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors of pixels in [0, 1], any shape; at most 120."""
    return -10 * mse.clamp_min(1e-12).log10()


def reconstruction_error(tokenizer: Tokenizer, read: Callable[[list[int]], Tensor], count: int, batch_size: int = 250) -> dict[str, float]:
    """Mean squared error (pixels in [0, 1]), PSNR of that mean in dB, mean SSIM (Wang et al. 2004), codes used and their perplexity.

    Args:
        tokenizer: In eval mode.
        read: Numbers of images → those images (b, C, h, w), float in [0, 1], on the tokenizer's device.
        count: Images 0..count-1 are judged.
    """
    errors, similar, codes = [], [], []
    for start in range(0, count, batch_size):
        images = read(list(range(start, min(start + batch_size, count))))
        found = tokenizer.encode(images)
        output = tokenizer.decode(found)
        errors.append((output - images).square().flatten(1).mean(1))
        similar.append(structural_similarity(output, images))
        codes.append(found)
    mse = torch.cat(errors).double().mean()
    used = {name: float(value) for name, value in usage(torch.cat(codes), tokenizer.num_codes).items()}
    return {"mse": float(mse), "psnr_db": float(psnr_db(mse)), "ssim": float(torch.cat(similar).double().mean()), **used}
