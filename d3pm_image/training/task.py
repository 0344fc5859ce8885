"""A training task, its progress, and its errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from .discriminator_step import DiscriminatorTask
from .random import StepRandom

Loss = Callable[[nn.Module, dict[str, Tensor], StepRandom], tuple]
"""(network, batch, random) → scalar loss, and what to log: scalars, or pairs (sum, count), tensors of shape
(2,), whose mean over all processes is logged; with a discriminator, third, what its loss is given."""


class TrainingError(RuntimeError):
    """Training cannot continue; the message says why and which checkpoint is good."""


class Interrupted(TrainingError):
    """A signal asked to stop; the message says whether a checkpoint was saved. ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 130):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class TrainTask:
    """A network to train, with its data, loss and validation.

    Args:
        model: Network; its forward pass is called by ``loss`` alone.
        batches: (first step, rank, world) → this process's share of the batches from that step on, each a
            dictionary of tensors of ``batch_size / world`` rows, ``steps`` - first step of them.
        loss: See :data:`Loss`.
        identity: Identity of the run (settings, data, tokenizer, seed, …), JSON values; saved with every
            checkpoint.
        check_identity: (a checkpoint's identity, run folder) → nothing; raises ConfigError if a resumed
            run may not continue from it.
        begin: Called on the main process after all checks, before the first step.
        validate: averaged network → numbers to log; ``score`` (lower is better) selects the best weights.
        validate_raw: last network, before averaging → numbers to log as ``val_raw_*``.
        preview: averaged network → images by name.
        discriminator: The discriminator's network and loss, for adversarial training.
    """

    model: nn.Module
    batches: Callable[[int, int, int], Iterable[dict[str, Tensor]]]
    loss: Loss
    identity: dict[str, Any] = field(default_factory=dict)
    check_identity: Callable[[dict[str, Any], Path], None] | None = None
    begin: Callable[[], None] | None = None
    validate: Callable[[nn.Module], dict[str, float]] | None = None
    validate_raw: Callable[[nn.Module], dict[str, float]] | None = None
    preview: Callable[[nn.Module], dict[str, Image.Image]] | None = None
    discriminator: DiscriminatorTask | None = None


@dataclass
class Progress:
    """Progress of a run; saved with every checkpoint.

    Args:
        skipped: Steps that changed nothing, because their loss or gradient was not finite; skipped_in_a_row
            up to now.
        reference: Loss of the first step, at least 1: a loss far above it shows that training diverged. 0
            before that step.
        considered: Whether compiling the network was decided; compiled: whether it was compiled.
    """

    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    reference: float = 0.0
    best: float = math.inf
    best_step: int = -1
    seconds: float = 0.0
    scaler: dict[str, Any] = field(default_factory=dict)
    considered: bool = False
    compiled: bool = False
