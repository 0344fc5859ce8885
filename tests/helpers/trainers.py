"""A trainer of a network of two layers."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from d3pm_image.config import TrainConfig
from d3pm_image.training.checkpoint import checkpoints
from d3pm_image.training.loop import make_accelerator
from d3pm_image.training.trainer import Trainer, TrainTask

CPU = torch.device("cpu")


def small_network() -> nn.Module:
    torch.manual_seed(0)
    parts = {
        "first": nn.Linear(4, 8),
        "norm": nn.LayerNorm(8),
        "blocks": nn.Sequential(nn.Linear(8, 8)),
        "last": nn.Linear(8, 2),
    }
    return nn.Sequential(OrderedDict(parts))


def trainer(folder, task: TrainTask | None = None, **changes) -> Trainer:
    def loss(model, batch, random):
        noise = random.uniform(4).float()
        return (model(batch["x"] + noise) - batch["y"]).square().mean(), {}

    config = TrainConfig(**{"steps": 10, "batch_size": 6, "warmup_steps": 2, "keep": 3, **changes})
    task = task or TrainTask(small_network(), lambda *_: [], loss)
    return Trainer(task, config, folder, make_accelerator(config))


def batch_of(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    return {"x": torch.randn(6, 4, generator=generator), "y": torch.randn(6, 2, generator=generator)}


def names(folder: Path) -> list[str]:
    return [p.name for p in checkpoints(folder / "checkpoints")]
