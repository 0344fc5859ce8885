"""The training loop of both stages: batches in, a loss callable, checkpoints and a trained network out.

One step is ``batch_size`` images over all processes and accumulation parts. Its random numbers derive from
(seed, step), so a run that is killed and resumed computes the same as an uninterrupted one.
"""

from __future__ import annotations

import itertools
import math
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from ..config import ConfigError, TrainConfig, check
from ..config.training import GRAPHS
from ..devices import pick_mixed_precision
from . import notebook
from .compiling import consider_compiling, go_on_compiled
from .folder import check_folder, run_folder
from .launch import check_launch, leave_at_exit, meeting
from .monitor import Monitor, read_lines
from .optim import learning_rate
from .signals import StopRequests, stop_requests
from .skipping import settle
from .trainer import Interrupted, Trainer, TrainingError, TrainTask
from .validation import validate

__all__ = [
    "Interrupted",
    "TrainTask",
    "TrainingError",
    "check_folder",
    "end_training",
    "make_accelerator",
    "run_folder",
    "train",
]


def make_accelerator(config: TrainConfig) -> Accelerator:
    """The Accelerator of a run; made before any quantizer, which looks for the process group when it is
    built.

    Raises:
        ConfigError: the precision does not fit the machine, the batch does not divide among the processes, or
            inconsistent environment variables of several processes.
    """
    started = check_launch()
    several = started > 1
    hint = "needs more than one process; launch with torchrun, or leave it out"
    check(several or not config.fsdp, "train.fsdp", True, hint)
    hint = "needs a GPU; use bf16 or no"
    check(
        config.mixed_precision != "fp16" or torch.cuda.is_available(), "train.mixed_precision", "fp16", hint
    )
    hint = "CUDA graphs need an NVIDIA GPU; use true, false or auto"
    check(config.compile != GRAPHS or torch.cuda.is_available(), "train.compile", GRAPHS, hint)
    # buffers are synchronised by the quantizer itself; broadcasting them would hide a codebook that drifts
    # others wait while one process encodes or validates
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=4))
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    # without cpu=True, processes that torchrun starts on a machine without a GPU would each train alone
    alone = not torch.cuda.is_available()
    # a second run in one program may choose another precision; the process group stays
    AcceleratorState._reset_state()
    with meeting(started):
        precision = pick_mixed_precision(config.mixed_precision)
        accelerator = Accelerator(mixed_precision=precision, cpu=alone, kwargs_handlers=[ddp, patience])
    choose_products(config.tf32, accelerator.device.type)
    if accelerator.num_processes != started:
        raise TrainingError(
            f"{started} processes were started but {accelerator.num_processes} train together; launch with"
            " torchrun or accelerate launch"
        )
    parts = accelerator.num_processes * config.accumulate
    if config.batch_size % parts:
        fit = max(parts, config.batch_size // parts * parts)
        raise ConfigError(
            "train.batch_size",
            config.batch_size,
            f"must divide by processes × accumulate = {parts}; use {fit}",
        )
    return accelerator


def end_training(accelerator: Accelerator) -> None:
    """Wait for all processes at the end of a run.

    The process group stays until the program ends: another training may follow in it, and a group that is
    made again may meet its peers' old addresses.
    """
    accelerator.wait_for_everyone()
    if accelerator.num_processes > 1:
        leave_at_exit()


def choose_products(tf32: bool, device: str) -> None:
    """Whether float32 products and convolutions on a ``cuda`` device may round their factors to TF32; other
    devices are left as they are."""
    if device == "cuda":
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = tf32


def train(
    task: TrainTask, config: TrainConfig, folder: Path, accelerator: Accelerator, resume: bool = False
) -> nn.Module:
    """Train and return the network to export: the best by validation (averaged weights), in eval mode.

    Args:
        task: Network, data, loss and validation.
        config: Loop settings.
        folder: Run folder; see :class:`~d3pm_image.training.monitor.Monitor` and ``checkpoints/``.
        accelerator: From :func:`make_accelerator`.
        resume: Continue from the last complete checkpoint.

    Raises:
        ConfigError: the folder holds an earlier run, or a checkpoint that does not fit.
        TrainingError: a NaN or infinite loss. Interrupted: a signal asked to stop (after saving).
    """
    check_folder(folder, resume)
    accelerator.wait_for_everyone()  # every process has checked before the first one writes
    trainer = Trainer(task, config, folder, accelerator)
    progress_known = resume and trainer.restore()
    trainer.together()
    go_on_compiled(trainer)
    if trainer.main and task.begin is not None:
        task.begin()
    if resume and trainer.main:
        print(
            f"resuming at step {trainer.progress.step}"
            if progress_known
            else f"no complete checkpoint in {folder}; starting from the beginning"
        )
    first = trainer.progress.step
    monitor = Monitor(folder, trainer.main, first)
    source = iter(
        task.batches(
            0 if config.overfit_one_batch else first, accelerator.process_index, accelerator.num_processes
        )
    )
    loader = itertools.repeat(next(source)) if config.overfit_one_batch else source
    quiet = not trainer.main
    with (
        stop_requests() as signals,
        tqdm(
            total=config.steps,
            initial=first,
            disable=quiet,
            unit="step",
            mininterval=0.5 if sys.stderr.isatty() or notebook.is_running() else 15,
            dynamic_ncols=True,
        ) as bar,
    ):
        try:
            _steps(trainer, loader, monitor, bar, signals)
        finally:
            monitor.close()
            getattr(source, "close", lambda: None)()  # ends its helper processes
    if config.overfit_one_batch and trainer.main:
        print(overfit_result(folder))
    return _finished(trainer)


def overfit_result(folder: Path) -> str:
    """The result of a run on one batch: whether the network can learn.

    Raises:
        TrainingError: the loss did not fall by half.
    """
    lines = [line for _, line in read_lines(folder / "log.jsonl") if line is not None]
    losses = [line["loss"] for line in lines if isinstance(line.get("loss"), float)]
    if not losses:
        raise TrainingError(
            "one batch: not one loss was finite; lower train.learning_rate, or look at the data"
        )
    last = losses[-max(1, len(losses) // 10) :]
    end = sum(last) / len(last)
    said = (
        f"one batch: loss {losses[0]:.4g} at first, {end:.4g} over the last tenth of {lines[-1]['step']}"
        " steps"
    )
    if end > losses[0] / 2:
        raise TrainingError(
            f"{said}: the network failed to overfit one batch; raise train.steps or"
            " train.learning_rate, or look at the data"
        )
    return f"{said}: the network learns; now train without train.overfit_one_batch"


def _steps(
    trainer: Trainer, loader: Iterator[dict[str, Tensor]], monitor: Monitor, bar: tqdm, signals: StopRequests
) -> None:
    """All remaining steps, with logs, previews and checkpoints in between."""
    config, began, images, waited = trainer.config, time.perf_counter(), 0, 0.0
    since_start, before = time.perf_counter(), trainer.progress.seconds
    while trainer.progress.step < config.steps and not _no_better(trainer):
        asked = time.perf_counter()
        batch = _awaited(trainer, loader, signals)
        if batch is None:
            raise _interrupted(trainer, signals)
        waited += time.perf_counter() - asked
        logs = trainer.step(batch)
        images += config.batch_size
        step, end = trainer.progress.step, trainer.progress.step == config.steps
        bar.update(1)
        trainer.progress.seconds = before + time.perf_counter() - since_start
        if step % config.log_every == 0 or end or step == 1:
            settle(trainer)
            span = max(time.perf_counter() - began, 1e-9)
            values = means({k: trainer.accelerator.reduce(v, "mean") for k, v in logs.items()})
            if trainer.progress.skipped:
                values["skipped"] = trainer.progress.skipped
            values["learning_rate"] = learning_rate(step - 1, config)
            values["images_per_s"], values["data_wait"] = round(images / span, 2), round(waited / span, 4)
            values["seconds"], values["processes"] = (
                round(trainer.progress.seconds, 2),
                trainer.accelerator.num_processes,
            )
            monitor.scalars(step, values)
            bar.set_postfix_str(
                f"loss {values.get('loss', math.nan):.4g}, {values['images_per_s']:.0f} images/s"
            )
            consider_compiling(trainer, max(span - waited, 0) * config.batch_size / images)
            began, images, waited = time.perf_counter(), 0, 0.0
        if config.preview_every and (step % config.preview_every == 0 or end):
            values = validate(trainer, monitor)
            if values:
                monitor.scalars(step, values)
            began, images, waited = time.perf_counter(), 0, 0.0
        if end:
            trainer.save_last()
        elif step % config.checkpoint_every == 0:
            trainer.due = True  # written when the next loss shows that these weights are good
        if _stop_requested(trainer, signals) and not end:
            raise _interrupted(trainer, signals)
    if trainer.progress.step < config.steps:
        _end_early(trainer)


def _no_better(trainer: Trainer) -> bool:
    """Whether ``train.patience`` validations in a row brought no better score; all processes get the same
    answer."""
    config, progress = trainer.config, trainer.progress
    if not config.patience or progress.step % config.preview_every:
        return False
    waited = progress.step - progress.best_step
    ended = progress.best_step >= 0 and waited >= config.patience * config.preview_every
    if trainer.accelerator.num_processes > 1:  # the main process alone knows the scores
        flag = torch.tensor(float(ended), device=trainer.accelerator.device)
        ended = bool(trainer.accelerator.reduce(flag, "sum") > 0)
    return ended


def _end_early(trainer: Trainer) -> None:
    """Write the last checkpoint of a run that no longer improves, and print a line."""
    if trainer.progress.step != trainer.saved_step:
        trainer.save_last()
    if trainer.main:
        step, best = trainer.progress.step, trainer.progress.best_step
        tqdm.write(f"stopped at step {step}: no better held-out score since step {best} (train.patience)")


def means(values: dict[str, Tensor]) -> dict[str, float]:
    """Numbers to log: scalars, and sums divided by their counts (2,); without NaN and counts of 0."""
    plain = {
        k: float(v[0] / v[1]) if v.ndim else float(v) for k, v in values.items() if not v.ndim or v[1] > 0
    }
    return {k: float(f"{v:.8g}") for k, v in plain.items() if math.isfinite(v)}


def _awaited(
    trainer: Trainer, loader: Iterator[dict[str, Tensor]], signals: StopRequests
) -> dict[str, Tensor] | None:
    """The next batch; None if a signal came first, which interrupts waiting in a single process (other
    processes would wait for its step)."""
    if signals.names and trainer.accelerator.num_processes == 1:
        return None
    try:
        signals.waiting = trainer.accelerator.num_processes == 1
        batch = next(loader)
        signals.waiting = False
        return batch
    except KeyboardInterrupt:
        if len(signals.names) > 1 and signals.names[-1] == "SIGINT":
            raise
        return None
    finally:
        signals.waiting = False


def _interrupted(trainer: Trainer, signals: StopRequests) -> Interrupted:
    """Save unless the run diverges, and report it."""
    by, step = signals.names[0] if signals.names else "another process", trainer.progress.step
    if trainer.save_interrupted():
        return Interrupted(f"stopped by {by} at step {step}; saved, go on with --resume true")
    code = 128 + getattr(signal, by, signal.SIGINT)
    if not step:
        return Interrupted(f"stopped by {by} before the first step", code)
    return Interrupted(
        f"stopped by {by} at step {step} of a run that diverges, which was not saved: {trainer.safe()}", code
    )


def _stop_requested(trainer: Trainer, signals: StopRequests) -> bool:
    if trainer.accelerator.num_processes == 1:
        return bool(signals.names)
    flag = torch.tensor(float(bool(signals.names)), device=trainer.accelerator.device)
    return bool(trainer.accelerator.reduce(flag, "sum") > 0)


def _finished(trainer: Trainer) -> nn.Module:
    """The network with its best weights, in eval mode; of a sharded one on the main process alone."""
    network = trainer.evaluated()
    best = trainer.folder / "best" / "model.safetensors"
    if trainer.progress.best_step >= 0 and best.is_file() and (trainer.main or not trainer.config.fsdp):
        network.load_state_dict(load_file(best))
    return network
