"""When a run with ``train.compile`` auto is compiled: once its first steps show that it is long."""

from __future__ import annotations

import sys

import torch

from ..compiler import compile_network, compiler_works, pays
from .trainer import Trainer

STEADY = 10
"""The step from which the time per step is known, in new and in resumed runs."""


def consider_compiling(trainer: Trainer, seconds_a_step: float) -> None:
    """Compile the network of a run, once, if ``train.compile`` is auto, the remaining steps take long enough,
    and every process has a compiler that works."""
    if not left_open(trainer) or trainer.progress.step < STEADY or trainer.progress.considered:
        return
    trainer.progress.considered = True
    seconds = mean(trainer, seconds_a_step)
    if pays(seconds, trainer.config.steps - trainer.progress.step) and everywhere(trainer):
        if trainer.main:
            hint = "a long run: its network is compiled now, which takes minutes once (train.compile)"
            print(f"note: {hint}", file=sys.stderr)
        compile_network(trainer.task.model)
        trainer.progress.compiled = True


def go_on_compiled(trainer: Trainer) -> None:
    """Compile the network of a resumed run if it was compiled before."""
    if not left_open(trainer) or not trainer.progress.compiled:
        return
    if everywhere(trainer):
        compile_network(trainer.task.model)
        return
    trainer.progress.compiled = False
    if trainer.main:
        hint = "the run was compiled, and no compiler works here: its weights differ in the last digits"
        print(f"note: {hint}", file=sys.stderr)


def left_open(trainer: Trainer) -> bool:
    """Whether the run may decide itself."""
    return trainer.config.compile == "auto" and not trainer.config.fsdp


def everywhere(trainer: Trainer) -> bool:
    """Whether a compiler works in every process."""
    return mean(trainer, compiler_works(trainer.accelerator.device)) == 1


def mean(trainer: Trainer, value: float) -> float:
    """Mean over all processes."""
    own = torch.tensor(value, dtype=torch.float32, device=trainer.accelerator.device)
    return float(trainer.accelerator.reduce(own, "mean"))
