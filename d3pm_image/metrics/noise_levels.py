"""Measures of a training step by noise level and by kind of token.

A bound that is good on average can hide a network that ignores its noise level, or that has learnt masks but
nothing about random codes. Every measure is a pair (sum, count), so that parts of a batch on several
processes add up.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion import Process

LEVELS = 4


def bound_by_noise_level(bound: Tensor, t: Tensor) -> dict[str, Tensor]:
    """Sum and number of the images' bounds in nats per token, by quarters of time, each (2,).

    Args:
        bound: (B, N) nats per token. t: (B,) times in (0, 1].
    """
    level = (t * LEVELS).ceil().long().clamp(1, LEVELS) - 1
    each = bound.detach().double().mean(1)
    sums, counts = (
        each.new_zeros(LEVELS).scatter_add_(0, level, each),
        each.new_zeros(LEVELS).scatter_add_(0, level, torch.ones_like(each)),
    )
    return {f"bound_nats_t<={(i + 1) / LEVELS:g}": torch.stack([sums[i], counts[i]]) for i in range(LEVELS)}


def accuracy_by_token(
    process: Process, correct: Tensor, x_0: Tensor, x_t: Tensor, unknown: Tensor | None = None
) -> dict[str, Tensor]:
    """Number of correct ones and number of the masked, replaced and kept tokens, each (2,), without kinds
    that the process does not make or that cannot be wrong.

    Args:
        correct: (B, N) bool, whether the largest posterior logit is the clean code. x_0, x_t: (B, N) codes.
        unknown: (B, N) bool, without the tokens that were declared known. Default all.
    """
    masked, same = process.is_masked(x_t), x_t == x_0
    kinds = {} if process.schedule.uniform else {"masked": masked}
    if not process.schedule.absorbing:  # an absorbing process leaves unmasked tokens as they are
        kept = same if unknown is None else same & unknown
        kinds |= {"replaced": ~masked & ~same, "kept": kept}
    return {
        f"{name}_accuracy": torch.stack([(correct & where).sum(), where.sum()]).double()
        for name, where in kinds.items()
    }
