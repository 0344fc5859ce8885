"""Averaged weights, by torch's AveragedModel: parameters are averaged, buffers (such as a codebook) are
copied."""

from __future__ import annotations

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def make_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """An exponential moving average with a warm start: step n uses min(decay, (1+n)/(10+n)), so that short
    runs are not averaged with their random beginning. None if decay is 0."""
    if decay == 0:
        return None

    def move(average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
        rate = min(decay, (1 + int(count)) / (10 + int(count)))
        return average.lerp(value, 1 - rate)

    return AveragedModel(model, avg_fn=move, use_buffers=False)
