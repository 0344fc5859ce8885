"""How the time is divided: reading, both stages with their validations, and the images and the report at the
end.

Of both stages' time the tokenizer took from a tenth (grey images) to a third (images in colour) in the
trainings of ``configs/``, which note how long each took: here a third.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ...system.threads import own_processors
from ..diffusion import PREVIEW_IMAGES
from ..token_cache import VALIDATION_IMAGES
from .subject import Seen

SPARE = 0.95
"""Fraction of the time that is planned, because other programs may start."""
SHARE = 1 / 3
"""Fraction of stage one in the time of both stages."""
BATCH = (32, 64)
"""Images per step of either stage, as the measured trainings had them."""
FORWARD = 1 / 3
"""Cost of an image without gradients, as a fraction of its cost in a training step."""
ENCODE = 0.2
"""The same for the encoder of stage one alone."""
START_S = 3.0
"""Seconds of either stage before its first step and after its last one."""
VALIDATED = 0.1
"""Fraction of a stage's time for validations and previews."""
DRAWN = 56
"""Images generated at the end, inpaintings included."""
SAMPLER_STEPS = 16
GUIDANCE = 1.5
LEAST_STEPS = 50


@dataclass(frozen=True)
class Costs:
    """Seconds that an image takes in a training step of either stage."""

    tokenizer: float
    denoiser: float


@dataclass(frozen=True)
class Part:
    """Steps of a stage, and steps between validations."""

    steps: int
    previews: int


@dataclass(frozen=True)
class Budget:
    """The time.

    Args:
        minutes: For everything.
        seen: The images.
        clock: Seconds that were spent.
        first_done: Whether stage one has ended, so that stage two gets the rest.
    """

    minutes: float
    seen: Seen
    clock: Callable[[], float]
    first_done: bool = False

    @property
    def calls(self) -> int:
        """Network calls per image drawn; guidance asks twice per step."""
        return SAMPLER_STEPS * (2 if self.seen.classes else 1)

    def left(self) -> float:
        """Seconds for training, without reading: each stage decodes the images once, and so does the search
        for near-copies."""
        reading = self.seen.read_s * (self.seen.images + self.seen.held_out) / min(4, len(own_processors()))
        return SPARE * 60 * self.minutes - self.clock() - (2 if self.first_done else 3) * reading

    def first(self) -> float:
        """Seconds of stage one, roughly."""
        return SHARE * self.left()

    def second(self) -> float:
        """Seconds of stage two, roughly."""
        return self.left() - self.first()

    def end(self, costs: Costs) -> float:
        """Seconds of what follows both stages."""
        return START_S + DRAWN * self.calls * FORWARD * costs.denoiser

    def fixed(self, costs: Costs) -> tuple[float, float]:
        """Seconds of either stage beside steps and validations; stage two encodes the images, and
        their mirror images."""
        encoded = 2 * self.seen.images + self.seen.held_out
        return START_S, START_S + encoded * ENCODE * costs.tokenizer

    def validating(self, costs: Costs) -> tuple[float, float]:
        """Seconds of a validation of averaged and last weights, with its preview, in either stage."""
        held_out = min(self.seen.held_out, VALIDATION_IMAGES)
        first = 2 * held_out * FORWARD * costs.tokenizer
        second = (4 * held_out + PREVIEW_IMAGES * self.calls) * FORWARD * costs.denoiser
        return first, second

    def parts(self, costs: Costs) -> tuple[Part, Part]:
        """Plans of both stages for the time; steps may be 0 or less."""
        left = self.left() - self.end(costs)
        share = 0.0 if self.first_done else SHARE
        seconds = (share * left, (1 - share) * left)
        every = zip(seconds, self.fixed(costs), self.validating(costs), self.steps_s(costs), strict=True)
        first, second = (
            part(whole - fixed, validation_s, step_s) for whole, fixed, validation_s, step_s in every
        )
        return first, second

    def steps_s(self, costs: Costs) -> tuple[float, float]:
        """Seconds of a step of either stage."""
        return BATCH[0] * costs.tokenizer, BATCH[1] * costs.denoiser

    def enough_minutes(self, costs: Costs) -> float:
        """Minutes that give both stages :data:`LEAST_STEPS`."""
        every = zip(
            (SHARE, 1 - SHARE), self.fixed(costs), self.validating(costs), self.steps_s(costs), strict=True
        )
        stages = max(
            (fixed + 3 * validation_s + (LEAST_STEPS + 1) * step_s) / share
            for share, fixed, validation_s, step_s in every
        )
        spent = SPARE * 60 * self.minutes - self.left()  # reading included
        return math.ceil((spent + self.end(costs) + stages) / SPARE / 6) / 10


def part(seconds: float, validation_s: float, step_s: float) -> Part:
    """Steps in the given seconds, with 2 to 10 validations that take about a tenth of them."""
    previews = min(10, max(2, int(VALIDATED * seconds / validation_s) if validation_s else 10))
    return Part(int((seconds - (previews + 1) * validation_s) / step_s), previews)
