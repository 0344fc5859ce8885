"""One training loop for every baseline, stopped by seconds or by steps.

Batches, label dropout, optimizer, averaged weights, precision and gradient clipping are the configuration's for all. Only the time inside
steps counts (loss, gradients, optimizer, averaging), by the wall clock or by the processor time of a thread; both are recorded.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from d3pm_image.config import TrainConfig
from d3pm_image.data.codes import CodeSet
from d3pm_image.data.order import BatchOrder
from d3pm_image.seeds import derive
from d3pm_image.training.ema import make_average
from d3pm_image.training.optim import learning_rate, make_optimizers
from d3pm_image.training.random import StepRandom

from .problem import Baseline

TICKS = 10_000  # a budget in parts, as the learning rate's schedule counts them
WARMUP = 0.04  # of the budget: how many steps it holds is not known before
ENDLESS = 2**40


@dataclass(frozen=True)
class Budget:
    """How long to train: ``seconds`` by a clock (wall; or cpu, processor seconds over threads), or ``steps`` where seconds are 0."""

    seconds: float = 0.0
    steps: int = 0
    clock: str = "wall"

    def share(self, wall: float, cpu: float, steps: int) -> float:
        """Share that is spent; 1 or more is all."""
        if self.seconds:
            return (wall if self.clock == "wall" else cpu) / self.seconds
        return steps / self.steps


def train(baseline: Baseline, codes: CodeSet, recipe: TrainConfig, budget: Budget, label_dropout: float, device: str = "cpu"):
    """Train; returns the averaged network's weights and what is to be remembered of the run."""
    model = baseline.model.to(device).train()
    recipe = dataclasses.replace(recipe, steps=TICKS, warmup_steps=round(WARMUP * TICKS))
    optimizers, average = make_optimizers(model, recipe), make_average(model, recipe.ema)
    threads, wall, cpu, losses = torch.get_num_threads(), 0.0, 0.0, []
    share, skipped = 0.0, 0
    for step, keys in enumerate(BatchOrder(len(codes), recipe.batch_size, recipe.seed, 0, ENDLESS)):
        batch = codes.__getitems__(keys)
        started, started_cpu = time.perf_counter(), time.process_time()
        torch.manual_seed(derive(recipe.seed, step, 1 << 16))
        random = StepRandom(recipe.seed, step, recipe.batch_size, slice(0, recipe.batch_size), torch.device(device))
        optimizers.set_learning_rate(learning_rate(int(share * TICKS), recipe))
        x_0, labels = batch["codes"].to(device), batch["labels"].to(device)
        hidden = (random.uniform() < label_dropout) | (labels < 0)
        labels = torch.where(hidden, torch.full_like(labels, classes(baseline)), labels)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.mixed_precision == "bf16"):
            loss = baseline.loss(x_0, labels, random)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip or float("inf"))
        if bool(torch.isfinite(norm)):
            optimizers.step()
            if average is not None:
                average.update_parameters(model)
        else:
            skipped += 1
        optimizers.zero_grad()
        losses.append(float(loss.detach()))
        wall, cpu = wall + time.perf_counter() - started, cpu + (time.process_time() - started_cpu) / threads
        share = budget.share(wall, cpu, step + 1)
        if share >= 1:
            break
    few = max(1, len(losses) // 10)
    facts = {
        "parameters": sum(p.numel() for p in model.parameters()), "steps": len(losses), "images": len(losses) * recipe.batch_size,
        "wall_seconds": round(wall, 2), "cpu_seconds_a_thread": round(cpu, 2), "threads": threads, "skipped": skipped,
        "loss_first_tenth": round(sum(losses[:few]) / few, 4), "loss_last_tenth": round(sum(losses[-few:]) / few, 4),
    }  # fmt: skip
    return weights(model if average is None else average.module), facts


def classes(baseline: Baseline) -> int:
    """The label that means none."""
    return baseline.problem.num_classes


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())
