"""Seconds of a training step on this machine: a few real steps at two batch sizes, and a straight line
through them.

The time of a step has a part that does not depend on the batch (optimizer, averaged weights) and a part per
image: seconds = fixed + images · each. The steps are the trainer's own, on random images or codes; nothing is
read or written.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config import TrainConfig, check
from .loop import TrainTask, make_accelerator
from .trainer import Trainer

ROUNDS = 3
# the larger step takes at least so many times a step of one image: a slope must stand out of the noise
MIN_SIGNAL_RATIO = 2.0


@dataclass(frozen=True)
class Timing:
    """Seconds per step = ``fixed`` + images · ``each``, measured at ``batches`` images on ``device``;
    ``worked`` is the fraction of the time in which the process had its threads' processors, small if other
    programs run."""

    fixed: float
    each: float
    batches: tuple[int, ...]
    device: str
    worked: float

    def step(self, images: int) -> float:
        """Seconds of a step with a number of images."""
        return self.fixed + images * self.each


def free_bytes() -> int:
    """Memory that is free where training would run."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import psutil

    return psutil.virtual_memory().available


def line(points: dict[int, float]) -> tuple[float, float]:
    """(fixed, each) of the line through the smallest and the largest of {images: seconds}; never negative.
    One point gives no fixed part."""
    small, large = min(points), max(points)
    each = points[large] / large if small == large else (points[large] - points[small]) / (large - small)
    each = min(max(each, 0.0), points[large] / large)
    return points[large] - each * large, each


def time_steps(
    model: nn.Module,
    loss: Callable,
    make_batch: Callable[[int], dict[str, Tensor]],
    train: TrainConfig,
    largest: int,
    seconds: float,
) -> Timing:
    """Measure for about ``seconds``, after steps of one image that warm up, with at most ``largest`` images
    at once.

    Args:
        model: Fresh network; it is trained. Its processes, if any, are not: one process measures.
        loss: As in :class:`~d3pm_image.training.trainer.TrainTask`.
        make_batch: Number of images → a batch.

    Raises:
        ConfigError: started on several processes, or a precision that this machine does not have.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    hint = "one process measures; start it without torchrun or accelerate launch"
    check(world == "1", "processes", world, hint)
    settings = dataclasses.replace(train, batch_size=1, accumulate=1, compile=False, fsdp=False)
    accelerator = make_accelerator(settings)
    trainer = Trainer(TrainTask(model, lambda *_: [], loss), settings, Path(), accelerator)

    def once(images: int) -> float:
        trainer.config = dataclasses.replace(settings, batch_size=images)
        batch = make_batch(images)
        began = time.perf_counter()
        float(trainer.step(batch)["loss"])  # reading a number waits for the device
        return time.perf_counter() - began

    once(1)
    share, most = seconds / (2 * ROUNDS + 2), 1  # seconds that one of the larger steps may take
    single = last = once(1)
    while 2 * most <= largest and (last < max(share / 2, MIN_SIGNAL_RATIO * single)):
        most *= 2
        last = once(most)
    sizes = sorted({max(1, most // 4), most})
    times: dict[int, list[float]] = {images: [] for images in sizes}
    began, worked = time.perf_counter(), time.process_time()
    for _ in range(ROUNDS):
        for images in sizes:
            times[images].append(once(images))
    worked = (time.process_time() - worked) / (time.perf_counter() - began) / torch.get_num_threads()
    # disturbances only make a step longer
    fixed, each = line({images: min(values) for images, values in times.items()})
    return Timing(fixed, each, tuple(sizes), accelerator.device.type, worked)
