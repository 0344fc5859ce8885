"""Averaged weights: parameters are averaged, buffers (such as a codebook) are copied."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


@dataclass(frozen=True)
class Skipped:
    """Steps that move nothing, where the device alone knows it.

    Args:
        now: A float scalar on the model's device, 1 where this step is one; the parameters stay then.
        earlier: How many steps of those that ``n_averaged`` counts were, an integer scalar there.
    """

    now: Tensor
    earlier: Tensor


class Average(AveragedModel):
    """An exponential moving average with a warm start: step n uses min(decay, (1+n)/(10+n)), so that short
    runs are not averaged with their random beginning.

    torch's own update copies its count to the device for every parameter; this one never waits for the
    device, and moves all parameters at once.

    Args:
        model: What is averaged; copied.
        decay: Largest share of the old average that a step keeps.
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module, skipped: Skipped | None = None) -> None:
        """One step of the average of a model whose weights have moved, unless ``skipped`` says no."""
        count = int(self.n_averaged)
        averages = [p.detach() for p in self.module.parameters()]
        values = [p.detach() for p in model.parameters()]
        if count == 0:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
        elif skipped is None:
            rate = 1 - min(self.decay, (1 + count) / (10 + count))
            torch._foreach_lerp_(averages, values, rate)
        else:
            moved = count - skipped.earlier.to(skipped.now.dtype)
            rates = (1 - ((1 + moved) / (10 + moved)).clamp_max(self.decay)) * (1 - skipped.now)
            differences = torch._foreach_sub(values, averages)
            torch._foreach_mul_(differences, rates)
            torch._foreach_add_(averages, differences)
        for copied, value in zip(self.module.buffers(), model.buffers(), strict=True):
            copied.copy_(value)
        self.n_averaged += 1


def make_average(model: nn.Module, decay: float) -> Average | None:
    """The average of a model's weights, or None if decay is 0."""
    return Average(model, decay) if decay else None
