"""The adversarial training step: the discriminator's own loss, optimizer, and part of the
checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from ..config import TrainConfig, check
from . import checkpoint as ckpt
from .optim import Optimizers, learning_rate, make_optimizers
from .random import StepRandom


@dataclass(frozen=True)
class DiscriminatorTask:
    """A discriminator to train against a task's network.

    Args:
        model: Network, on its way to the same device as the task's.
        loss: (network, what the task's loss kept, random) → scalar loss and a dictionary of scalar tensors to
            log.
        rate: Learning rate as a multiple of the task's.
        start_step: First step that it trains.
        setting: Name of the setting that start_step comes from, for messages.
    """

    model: nn.Module
    loss: Callable[[nn.Module, Any, StepRandom], tuple[Tensor, dict[str, Tensor]]]
    rate: float = 1.0
    start_step: int = 0
    setting: str = "start_step"


class DiscriminatorStep:
    """A discriminator in training. Both networks compute their gradients of a step before either is updated.

    Args:
        task: The network and its loss.
        config: Loop settings, shared with the task's network.
        accelerator: Of the run.
    """

    def __init__(self, task: DiscriminatorTask, config: TrainConfig, accelerator: Accelerator):
        self.task, self.config, self.accelerator = task, config, accelerator
        made = make_optimizers(task.model.to(accelerator.device), config)
        self.network, *prepared = accelerator.prepare(task.model, *(o for o, _ in made.members))
        self.optimizers = Optimizers(
            [(o, factor) for o, (_, factor) in zip(prepared, made.members, strict=True)]
        )

    def backward(self, kept: Any, random: StepRandom, last: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Gradients of one accumulation part; processes exchange them on the last."""
        self.network.train()
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.network):
            loss, values = self.task.loss(self.network, kept, random)
            self.accelerator.backward(loss / self.config.accumulate)
        return loss, values

    def step(self, step: int, skip: bool = False) -> None:
        """Update by the gradients of a step, or drop them."""
        if skip:
            self.optimizers.zero_grad()
            return
        self.optimizers.set_learning_rate(learning_rate(step, self.config) * self.task.rate)
        if self.config.clip:
            self.accelerator.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizers.step()
        self.optimizers.zero_grad()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Its tensors in a checkpoint."""
        state: dict[str, Tensor] = {}
        for number, (optimizer, _) in enumerate(self.optimizers.members):
            state |= ckpt.optimizer_tensors(optimizer, f"{number}.")
        return {"discriminator": dict(self.task.model.state_dict()), "discriminator_optimizer": state}

    def restore(self, tensors: dict[str, dict[str, Tensor]], step: int) -> None:
        """Put :meth:`tensors` back. If a checkpoint of ``step`` has none, the discriminator begins with new
        weights.

        Raises:
            ConfigError: it would have had to begin before that step.
        """
        if "discriminator" not in tensors:
            late = (
                f"the checkpoint of step {step} holds no second network, so it cannot have begun earlier;"
                f" give {step} or more"
            )
            check(self.task.start_step >= step, self.task.setting, self.task.start_step, late)
            return
        self.task.model.load_state_dict(tensors["discriminator"])
        for number, (optimizer, _) in enumerate(self.optimizers.members):
            ckpt.load_optimizer(optimizer, tensors["discriminator_optimizer"], f"{number}.")
