"""Steps whose loss or gradient is not finite: they change nothing, are counted, and stop a run if there are
too many in a row.

On a CPU every loss is checked. On a GPU that would need synchronisation, so the device itself decides and
counts (:class:`Tally`), and the counts are read once per log line.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from torch import Tensor

from ..config import TrainConfig
from . import checkpoint as ckpt
from .task import Progress, TrainingError

if TYPE_CHECKING:
    from .trainer import Trainer

DEVICES = ("cuda",)
"""Types of device that count by themselves."""


class Tally:
    """Steps that were not finite, counted on a device.

    ``bad`` is a float scalar there: 1 where the last step was not finite in any process, else 0.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self.bad = torch.zeros((), device=accelerator.device)
        self.counts = torch.zeros(3, dtype=torch.int64, device=accelerator.device)

    @staticmethod
    def of(config: TrainConfig, accelerator: Accelerator) -> Tally | None:
        """The tally of a run; None if every step is checked on the CPU: without a GPU, with a sharded
        network, and in fp16, whose scaler checks by itself."""
        waits = config.fsdp or config.mixed_precision == "fp16" or accelerator.device.type not in DEVICES
        return None if waits else Tally(accelerator)

    def begin(self) -> None:
        """A step begins."""
        self.bad = torch.zeros_like(self.bad)

    def see(self, value: Tensor) -> None:
        """A loss or gradient norm () of the step."""
        self.bad = torch.maximum(self.bad, (~torch.isfinite(value.detach())).to(self.bad.dtype))

    def end(self) -> None:
        """The whole step was computed."""
        if self.accelerator.num_processes > 1:
            self.bad = self.accelerator.reduce(self.bad, "sum").clamp_max(1)
        bad = self.bad.long()
        skipped, in_a_row, longest = self.counts
        in_a_row = (in_a_row + bad) * bad
        self.counts = torch.stack([skipped + bad, in_a_row, torch.maximum(longest, in_a_row)])

    def start_from(self, progress: Progress) -> None:
        """Continue counting from known counts."""
        known = [progress.skipped, progress.skipped_in_a_row, progress.skipped_in_a_row]
        self.counts = torch.tensor(known, device=self.counts.device)


def count(trainer: Trainer, bad: str) -> None:
    """Count a step; ``bad`` names what was not finite, such as "loss=nan", or is empty.

    Raises:
        TrainingError: too many such steps in a row.
    """
    progress = trainer.progress
    progress.skipped += bool(bad)
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if bad else 0
    if trainer.tally is not None:
        trainer.tally.start_from(progress)
    if bad:
        complain(trainer, f"{bad} at step {progress.step}", progress.skipped_in_a_row)


def settle(trainer: Trainer) -> None:
    """Read the device's counts of the steps so far; synchronises.

    Raises:
        TrainingError: too many steps in a row were not finite.
    """
    if trainer.tally is None:
        return
    progress, (skipped, in_a_row, longest) = trainer.progress, trainer.tally.counts.tolist()
    new, progress.skipped, progress.skipped_in_a_row = skipped - progress.skipped, skipped, in_a_row
    if not in_a_row and progress.step > trainer.saved_step:
        trainer.doubted = None
    if new:
        if trainer.average is not None:
            trainer.average.n_averaged -= new
        complain(
            trainer, f"loss or gradient not finite in {new} of the steps before {progress.step}", longest
        )
        trainer.tally.start_from(progress)


def complain(trainer: Trainer, what: str, in_a_row: int) -> None:
    """Report skipped steps, or stop.

    Args:
        what: Which steps were not finite, and how.
        in_a_row: Most of them without a good one in between.
    """
    progress, main = trainer.progress, trainer.main
    if in_a_row <= trainer.config.max_skips:
        if main:
            print(f"{what}: skipped ({progress.skipped} so far)", file=sys.stderr)
        return
    if main and trainer.doubted is not None and trainer.good_checkpoints():
        ckpt.remove(trainer.doubted)  # otherwise a resumed run would continue from it
    elif trainer.doubted is not None and not trainer.good_checkpoints():
        trainer.doubted = None  # there is no other
    hint = "lower train.learning_rate, or use train.mixed_precision bf16 or no, and go on with --resume true"
    raise TrainingError(f"{what}, {in_a_row} in a row: training stopped and {trainer.safe()}; {hint}")
