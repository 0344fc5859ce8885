"""Validation and previews of a run, without the compiler: validation has other shapes than a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..compiler import uncompiled
from ..storage import write_tensors
from .monitor import Monitor
from .skipping import settle

if TYPE_CHECKING:
    from .trainer import Trainer


def raw_measures(trainer: Trainer) -> dict[str, float]:
    """The same measures of the weights before averaging: the effect of averaging."""
    if trainer.average is None or trainer.task.validate_raw is None:
        return {}
    network, values = trainer.evaluated(raw=True), {}
    if trainer.main:
        values = {
            f"val_raw_{k}": float(v) for k, v in trainer.task.validate_raw(network).items() if k != "score"
        }
    network.train()
    return values


def validate(trainer: Trainer, monitor: Monitor) -> dict[str, float]:
    """Validate and preview on the main process; keep the best weights."""
    settle(trainer)
    with uncompiled(trainer.compiled):
        return _validate(trainer, monitor)


def _validate(trainer: Trainer, monitor: Monitor) -> dict[str, float]:
    raw, values = raw_measures(trainer), {}
    diverges = bool(trainer.progress.skipped_in_a_row) or trainer.exploded(trainer.loss)
    network = trainer.evaluated()
    if trainer.main:
        step = trainer.progress.step
        if trainer.task.validate is not None:
            values = {f"val_{k}": float(v) for k, v in trainer.task.validate(network).items()} | raw
            score = values.get("val_score", math.inf)
            # the held-out error does not show what a discriminator improves, so the last weights count as the
            # best
            opposed = trainer.discriminator is not None and step > trainer.discriminator.task.start_step
            if (score < trainer.progress.best or opposed) and math.isfinite(score) and not diverges:
                trainer.progress.best, trainer.progress.best_step = score, step
                (trainer.folder / "best").mkdir(exist_ok=True)
                write_tensors(
                    trainer.folder / "best" / "model.safetensors",
                    dict(network.state_dict()),
                    {"step": str(step), "score": repr(score)},
                )
        if trainer.task.preview is not None:
            for name, image in trainer.task.preview(network).items():
                monitor.image(step, name, image)
    network.train()
    if trainer.config.fsdp:
        network.to("cpu" if trainer.main else trainer.accelerator.device)
    trainer.accelerator.wait_for_everyone()
    return values
