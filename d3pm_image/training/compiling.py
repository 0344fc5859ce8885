"""When a run with ``train.compile`` auto is compiled: once its first steps show that it is long."""

from __future__ import annotations

import sys

import torch

from ..compiler import compile_network, compiler_there, pays
from .trainer import Trainer

STEADY = 10
"""Steps after which the time of one is known."""


def consider_compiling(trainer: Trainer, seconds_a_step: float) -> None:
    """Compile the network of a run, where that was left open, every process has a compiler, and the steps
    that are left take long enough."""
    config, accelerator = trainer.config, trainer.accelerator
    if config.compile != "auto" or config.fsdp or trainer.compiled:
        return
    able = compiler_there(accelerator.device)
    known = torch.tensor([seconds_a_step, able], dtype=torch.float64, device=accelerator.device)
    seconds, able = accelerator.reduce(known, "mean").tolist()
    if able < 1 or not pays(seconds, config.steps - trainer.progress.step):
        return
    if trainer.main:
        hint = "a long run: its network is compiled now, which takes minutes once (train.compile)"
        print(f"note: {hint}", file=sys.stderr)
    compile_network(trainer.job.model)
    trainer.progress.compiled = True
