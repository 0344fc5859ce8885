"""Settings that all samplers share. Those of single samplers are in their classes
(:mod:`d3pm_image.sampling.samplers`)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from ..errors import check, finite
from .worded import worded


@dataclass(frozen=True)
class SamplingConfig:
    """How codes are drawn from a trained model, whatever the sampler.

    Args:
        steps: Network calls per image.
        temperature: Divides the logits; under 1 images are more typical, over 1 more varied.
        top_k: Draw from the k likeliest codes only; 0 is off.
        top_p: Draw from the smallest set of likeliest codes with this total probability; 1 is off.
        guidance: Classifier-free guidance weight w in u + w(c - u); 1 is off, 1.5 is usual.
        guidance_schedule: constant, or linear or cosine from 1 up to guidance over the decode.
        guidance_from: Fraction of the decode before which guidance is off.
        guidance_until: Fraction of the decode after which guidance is off.
        set_guidance: For models with several sets of labels, a guidance weight for each set, such as
            group=3,style=1.5; sets that are not named have ``guidance``. Takes one network call more than
            there are sets.
        negative_label: Class, by name or number, that guidance moves away from; -1 uses the prediction
            without a class.
        correct_steps: Self-correction steps on the finished codes, for models trained with random codes.
    """

    steps: int = 16
    temperature: float = 1.0
    top_k: int = worded(0, "off")
    top_p: float = 1.0
    guidance: float = 1.0
    guidance_schedule: Literal["constant", "linear", "cosine"] = "constant"
    guidance_from: float = 0.0
    guidance_until: float = 1.0
    set_guidance: float | str = worded("", "guidance")
    negative_label: int | str = worded(-1, "none")
    correct_steps: int = worded(0, "none")

    def __post_init__(self) -> None:
        for name in ("steps", "top_k", "correct_steps"):
            check(isinstance(getattr(self, name), Integral), name, getattr(self, name), "give a whole number")
        for name in ("temperature", "top_p", "guidance", "guidance_from", "guidance_until"):
            check(isinstance(getattr(self, name), Real), name, getattr(self, name), "give a number")
        check(1 <= self.steps <= 10_000, "steps", self.steps, "give 1 to 10000 sampling steps, such as 16")
        positive = finite(self.temperature) and self.temperature > 0
        check(positive, "temperature", self.temperature, "give a positive number, such as 1.0")
        check(self.top_k >= 0, "top_k", self.top_k, "give 0 (off) or a number of codes")
        check(0 < self.top_p <= 1, "top_p", self.top_p, "give a probability in (0, 1]; 1 is off")
        hint = "give 0 or more; 1 is off, 1.5 is usual"
        check(finite(self.guidance) and self.guidance >= 0, "guidance", self.guidance, hint)
        options = ("constant", "linear", "cosine")
        hint = "use constant, linear or cosine"
        check(self.guidance_schedule in options, "guidance_schedule", self.guidance_schedule, hint)
        hint = "give a fraction of the decode in [0, 1]"
        check(0 <= self.guidance_from <= 1, "guidance_from", self.guidance_from, hint)
        until = f"give a fraction of the decode from guidance_from={self.guidance_from:g} to 1"
        check(self.guidance_from <= self.guidance_until <= 1, "guidance_until", self.guidance_until, until)
        hint = "give a class by name or number, or -1 for none"
        number = isinstance(self.negative_label, Integral) and self.negative_label >= -1
        check(number or isinstance(self.negative_label, str), "negative_label", self.negative_label, hint)
        check(0 <= self.correct_steps <= 1000, "correct_steps", self.correct_steps, "give 0 to 1000")
