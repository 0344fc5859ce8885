"""One training loop for every baseline, stopped by seconds or by steps.

Batches, label dropout, optimizer, averaged weights, precision and gradient clipping are the configuration's
for all. Only the time inside steps counts (loss, gradients, optimizer, averaging), by the wall clock or by
the processor time of a thread; both are recorded."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from d3pm_image.config import TrainConfig
from d3pm_image.data.codes import CodeSet
from d3pm_image.data.order import BatchOrder
from d3pm_image.devices import pick_mixed_precision
from d3pm_image.seeds import derive
from d3pm_image.training.ema import make_average
from d3pm_image.training.optim import learning_rate, make_optimizers
from d3pm_image.training.random import StepRandom

from .problem import Baseline

TICKS = 10_000  # parts of a budget, which the learning rate's schedule counts as steps
WARMUP = 0.04  # of the budget: how many steps it holds is not known before
ENDLESS = 2**40


@dataclass(frozen=True)
class Budget:
    """How long to train: ``seconds`` by a clock (wall; or cpu, processor seconds over threads), or ``steps``
    where seconds are 0."""

    seconds: float = 0.0
    steps: int = 0
    clock: str = "wall"

    def share(self, wall: float, cpu: float, steps: int) -> float:
        """Share that is spent; 1 or more is all."""
        if self.seconds:
            return (wall if self.clock == "wall" else cpu) / self.seconds
        return steps / self.steps


class Steps:
    """Training steps of a baseline: the network, its optimizers and its average.

    Args:
        recipe: Optimizer, schedule over :data:`TICKS`, precision, clipping and seed.
        label_dropout: Share of the labels that the network is not told.
    """

    def __init__(self, baseline: Baseline, recipe: TrainConfig, label_dropout: float, device: str):
        self.baseline, self.recipe, self.label_dropout = baseline, recipe, label_dropout
        self.model, self.device = baseline.model.to(device).train(), torch.device(device)
        self.optimizers = make_optimizers(self.model, recipe)
        self.average = make_average(self.model, recipe.ema)
        self.half = pick_mixed_precision(recipe.mixed_precision) == "bf16"
        self.losses: list[float] = []
        self.skipped = 0

    def run(self, batch: dict[str, Tensor], share: float) -> None:
        """One step, after a share of the budget; it is skipped where gradients are not finite."""
        recipe, step = self.recipe, len(self.losses)
        torch.manual_seed(derive(recipe.seed, step, 1 << 16))
        random = StepRandom(recipe.seed, step, recipe.batch_size, slice(0, recipe.batch_size), self.device)
        self.optimizers.set_learning_rate(learning_rate(int(share * TICKS), recipe))
        x_0, labels = batch["codes"].to(self.device), batch["labels"].to(self.device)
        hidden = (random.uniform() < self.label_dropout) | (labels < 0)
        labels = torch.where(hidden, torch.full_like(labels, self.baseline.problem.num_classes), labels)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.baseline.loss(x_0, labels, random)
        loss.backward()
        norm = clip_grad_norm_(self.model.parameters(), recipe.clip or float("inf"))
        if bool(torch.isfinite(norm)):
            self.optimizers.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        else:
            self.skipped += 1
        self.optimizers.zero_grad()
        self.losses.append(float(loss.detach()))

    def weights(self) -> dict[str, Tensor]:
        """Those of the average, where there is one."""
        return dict((self.model if self.average is None else self.average.module).state_dict())


def train(
    baseline: Baseline,
    codes: CodeSet,
    recipe: TrainConfig,
    budget: Budget,
    label_dropout: float,
    device: str = "cpu",
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train; returns the averaged network's weights and what is recorded of the run."""
    recipe = dataclasses.replace(recipe, steps=TICKS, warmup_steps=round(WARMUP * TICKS))
    steps = Steps(baseline, recipe, label_dropout, device)
    threads, wall, cpu, share = torch.get_num_threads(), 0.0, 0.0, 0.0
    order = BatchOrder(len(codes), recipe.batch_size, recipe.seed, 0, ENDLESS)
    for step, keys in enumerate(order):
        batch = codes.__getitems__(keys)
        started, started_cpu = time.perf_counter(), time.process_time()
        steps.run(batch, share)
        wall, cpu = wall + time.perf_counter() - started, cpu + (time.process_time() - started_cpu) / threads
        share = budget.share(wall, cpu, step + 1)
        if share >= 1:
            break
    losses = steps.losses
    tenth = max(1, len(losses) // 10)
    record = {
        "parameters": sum(p.numel() for p in steps.model.parameters()),
        "steps": len(losses),
        "images": len(losses) * recipe.batch_size,
        "wall_seconds": round(wall, 2),
        "cpu_seconds_a_thread": round(cpu, 2),
        "threads": threads,
        "skipped": steps.skipped,
        "loss_first_tenth": round(sum(losses[:tenth]) / tenth, 4),
        "loss_last_tenth": round(sum(losses[-tenth:]) / tenth, 4),
    }
    return steps.weights(), record
