"""What a step rule sees: the noisy grid, what is known, and one stream of randomness an image."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..diffusion import Process
from ..seeds import derive


class ImageStreams:
    """One generator an image, so that image i under a seed is the same in a batch of any size and on any device.

    Args:
        seed: Seed of the whole request.
        images: Numbers of the images in this batch; image i of a request is always number i.
    """

    def __init__(self, seed: int, images: range | list[int], device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.generators = [torch.Generator().manual_seed(derive(seed, i)) for i in images]

    def uniform(self, *shape: int) -> Tensor:
        """float64 uniforms (B, *shape) in [0, 1)."""
        return torch.stack([torch.rand(shape, dtype=torch.float64, generator=g) for g in self.generators]).to(self.device)


@dataclass
class DecodeState:
    """The state of a decode between two network calls.

    Args:
        process: Forward process that the denoiser was trained with.
        x_t: (B, N) int64 noisy codes.
        unknown: (B, N) bool, positions to generate; all others hold known codes and never change.
        streams: Randomness, one stream an image.
        temperature: Divides logits.
        step, steps: Number of this step (from 0) and of all.
    """

    process: Process
    x_t: Tensor
    unknown: Tensor
    streams: ImageStreams
    temperature: float = 1.0
    step: int = 0
    steps: int = 1
    unknown_count: Tensor = field(init=False)

    def __post_init__(self):
        self.unknown_count = self.unknown.sum(-1)

    @property
    def masked(self) -> Tensor:
        """(B, N) bool: tokens that are masks now."""
        return self.process.is_masked(self.x_t)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """softmax(logits / temperature) in float64, (…, K). float32 sums lose unlikely codes at K in the thousands."""
    return torch.softmax(logits.to(torch.float64) / temperature, -1)


def draw(p: Tensor, uniforms: Tensor) -> Tensor:
    """Categorical draw by the inverse distribution function: p (…, K) float64, uniforms (…) in [0, 1) → int64 (…)."""
    total = p.cumsum(-1)
    target = uniforms[..., None] * total[..., -1:]
    return torch.searchsorted(total, target, right=True)[..., 0].clamp_max(p.shape[-1] - 1)
