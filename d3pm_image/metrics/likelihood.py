"""The variational bound of held-out codes in bits per code, with its parts and a standard error.

    -log p(x_0) ≤ L_T + Σ_t L_t + L_0

(Austin et al. 2021, eq. 1; in continuous time the integral of dL/dt)

Every image gets its own times, stratified over all images, so the estimate is unbiased; L_0, one of the T
steps, is measured separately on every image. Bits are per code; if codes are pixels, bits per dimension are
bits per code divided by channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import asked_from_exact, exact_device
from ..diffusion import Process, Terms, bound_terms, low_discrepancy_times
from ..types import Denoiser, Grid

PARTS = 10


@dataclass(frozen=True)
class Likelihood:
    """A bound in bits per code.

    Args:
        bits: Upper bound on the bits per code; ``standard_error`` is that of the mean over images.
        reconstruction: L_0 (0 in continuous time). prior: L_T. diffusion: the rest, ``by_time`` its parts:
            pairs (upper end of the interval of t, bits per code that the interval adds).
        accuracy: Fraction of corrupted codes for which the largest posterior logit is that of the clean code.
        images, draws: Number of images, and of noise levels per image.
    """

    bits: float
    standard_error: float
    reconstruction: float
    prior: float
    diffusion: float
    by_time: tuple[tuple[float, float], ...]
    accuracy: float
    images: int
    draws: int


@torch.no_grad()
def bound_in_bits(
    denoiser: Denoiser,
    process: Process,
    read: Callable[[list[int]], tuple[Tensor, Tensor]],
    images: int,
    grid: Grid,
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 128,
) -> Likelihood:
    """Measure the bound.

    Args:
        denoiser: Network in eval mode, called with labels as ``read`` gives them.
        read: Numbers of images → codes (b, N) and labels (b,), on the network's device.
        images: Images 0..images-1 are measured, each at ``draws`` noise levels.
        seed: Seed of times and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    total, first = torch.zeros(2, images, dtype=torch.float64)
    right, corrupted = 0, 0
    by_time = torch.zeros(PARTS, dtype=torch.float64)
    for _ in range(draws):
        times = _times(process, images, generator)
        for start in range(0, images, batch_size):
            keys = list(range(start, min(start + batch_size, images)))
            x_0, labels = read(keys)
            here = slice(start, start + len(keys))
            if process.steps:
                one = torch.full((len(keys),), 1 / process.steps, dtype=torch.float64)
                terms, changed = _terms(denoiser, process, x_0, labels, one, grid, generator)
                first[here] += _bits(terms.bound) / process.steps
            if process.steps != 1:
                terms, changed = _terms(denoiser, process, x_0, labels, times[here], grid, generator)
                share = (process.steps - 1) / process.steps if process.steps else 1.0  # the rest is L_0
                bits = _bits(terms.bound) * share
                total[here] += bits
                part = (times[here] * PARTS).ceil().long().clamp(1, PARTS) - 1
                by_time.scatter_add_(0, part, bits / images)
            right, corrupted = right + int((terms.correct & changed).sum()), corrupted + int(changed.sum())
    prior = float(process.prior_kl()) / math.log(2)
    each = (total + first) / draws
    parts = tuple(((i + 1) / PARTS, float(v) / draws) for i, v in enumerate(by_time))
    error = float(each.std() / math.sqrt(images)) if images > 1 else float("nan")
    l_0, rest = float(first.mean()) / draws, float(total.mean()) / draws
    accuracy = right / max(1, corrupted)
    return Likelihood(l_0 + rest + prior, error, l_0, prior, rest, parts, accuracy, images, draws)


def _times(process: Process, images: int, generator: torch.Generator) -> Tensor:
    """Stratified times in random order: over steps 2..T, or all of (0, 1]."""
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    times = low_discrepancy_times(offset, images, max(process.steps - 1, 1) if process.steps else 0)
    if process.steps > 1:
        times = ((times * (process.steps - 1)).round() + 1) / process.steps
    return times[torch.randperm(images, generator=generator)]


def _terms(
    denoiser: Denoiser,
    process: Process,
    x_0: Tensor,
    labels: Tensor,
    t: Tensor,
    grid: Grid,
    generator: torch.Generator,
) -> tuple[Terms, Tensor]:
    device, here = x_0.device, exact_device(x_0.device)
    noise = torch.rand(*x_0.shape, 3, dtype=torch.float64, generator=generator)
    x_0, labels, t, noise = (value.to(here) for value in (x_0, labels, t, noise))
    x_t = process.corrupt(x_0, t, noise)
    logits = asked_from_exact(denoiser, device)(x_t, process.schedule.survival(t)[1], labels, grid)
    return bound_terms(process, logits, x_0, x_t, t), x_t != x_0


def _bits(nats: Tensor) -> Tensor:
    return nats.double().mean(1).cpu() / math.log(2)
