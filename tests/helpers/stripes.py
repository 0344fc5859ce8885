"""Images of stripes in noise, and which they are."""

from __future__ import annotations

import torch

SIDE = 20


def stripes(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of stripes that lie (0), stand (1) or are missing (2), in noise and in any phase; and which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    along = torch.arange(SIDE) + torch.randint(0, 6, (number, 1), generator=generator)
    wave = ((along % 6 < 3) * 120)[:, None, None, :].expand(-1, 1, SIDE, -1)
    images = torch.stack([wave.transpose(2, 3), wave, torch.full_like(wave, 60)])[
        labels, torch.arange(number)
    ]
    return (images + torch.randint(0, 100, images.shape, generator=generator)).to(torch.uint8), labels
