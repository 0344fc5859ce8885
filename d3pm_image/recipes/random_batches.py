"""Random batches of either stage, as the loaders give them: a step costs the same whatever they show."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import TokenizerRun, size_pair


def tokenizer_batch(config: TokenizerRun, images: int) -> dict[str, Tensor]:
    """So many random images, as the loader gives them."""
    shape = (images, config.data.channels, *size_pair(config.data.image_size))
    return {"images": torch.randint(256, shape, dtype=torch.uint8)}


def diffusion_batch(num_codes: int, grid: tuple[int, int], classes: int, images: int) -> dict[str, Tensor]:
    """So many random grids of codes, as the loader gives them."""
    codes = torch.randint(num_codes, (images, grid[0] * grid[1]))
    labels = torch.randint(classes, (images,)) if classes else torch.full((images,), -1)
    return {"codes": codes, "labels": labels}
