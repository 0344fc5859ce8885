"""What is trained, how far it has come, and how it can fail."""

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
    """Training cannot go on; the message says why and what is safe."""


class Interrupted(TrainingError):
    """A signal asked to stop; the message says whether a checkpoint was saved. ``code`` is the exit code."""

    def __init__(self, message: str, code: int = 130):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class TrainTask:
    """What is trained and how it is validated.

    Args:
        model: Network; its forward pass is called by ``loss`` alone.
        batches: (first step, rank, world) → this process's share of the batches from that step on, each a
            dictionary of tensors of ``batch_size / world`` rows, ``steps`` - first step of them.
        loss: See :data:`Loss`.
        identity: What the run is known by (settings, data, tokenizer, seed, …), JSON values; saved with every
            checkpoint.
        check_identity: (a checkpoint's identity, run folder) → nothing; raises ConfigError where a resumed
            run may not go on with it.
        begin: Called on the main process once the run is known to go ahead, before the first step.
        validate: averaged network → numbers to log; ``score`` (lower is better) selects the best weights.
        validate_raw: last network, before averaging → numbers to log beside those, as ``val_raw_*``.
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
    """Where a run stands; saved with every checkpoint.

    Args:
        skipped: Steps that changed nothing, because their loss or gradient was not finite; skipped_in_a_row
            up to now.
        reference: Loss of the first step, at least 1: one far above it is that of a network that has
            exploded. 0 before that step.
        considered: Whether it was decided if the network is to be compiled; compiled: whether it was.
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
