"""Settings that are chosen for a training on your own images, and the reasons: image size, networks, steps,
mirroring and the trained model to begin with."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...config import DataConfig, DiffusionRun, TokenizerRun, check, size_pair
from ...config.own_images import OwnImages
from ...printable import dashed, printable
from ..arguments import filled
from .budget import BATCH, LEAST_STEPS, Budget, Costs
from .networks import FEW, Images, Pace, fitting_denoiser, fitting_tokenizer, larger_size
from .subject import Seen

PATIENCE = 3
"""Validations without a better score after which a training on few images stops."""


ASKED, LEFT = "as asked", "what {:g} minutes leave for them"


@dataclass(frozen=True)
class Reason:
    """One thing that was chosen.

    Args:
        option: Option that changes it.
        value: In that option's form.
        why: In a few words.
    """

    option: str
    value: str
    why: str


@dataclass(frozen=True)
class Chosen:
    """Settings of both stages, with reasons.

    Args:
        tokenizer, diffusion: The two runs, as train-tokenizer and train-diffusion take them.
        reasons: One per line.
    """

    tokenizer: TokenizerRun
    diffusion: DiffusionRun
    reasons: tuple[Reason, ...]

    def with_loop(self, settings: Mapping[str, Any], minutes: float) -> Chosen:
        """The same with other settings of stage two's loop, its steps among them, for so many minutes in
        all."""
        changes: dict[str, Any] = {"value": str(settings["steps"])}

        def renewed(reason: Reason) -> Reason:
            why = reason.why if reason.why == ASKED else LEFT.format(minutes)
            return dataclasses.replace(reason, **changes, why=why) if reason.option == "steps" else reason

        reasons = tuple(map(renewed, self.reasons))
        diffusion = filled(self.diffusion, {"train": settings}, "")
        return dataclasses.replace(self, diffusion=diffusion, reasons=reasons)

    def __str__(self) -> str:
        words = [f"--{dashed(reason.option)} {reason.value}" for reason in self.reasons]
        width = max(map(len, words))
        return "\n".join(f"  {w:<{width}}  {r.why}" for w, r in zip(words, self.reasons, strict=True))


def choose(
    seen: Seen, asked: OwnImages, data: DataConfig, out: str, budget: Budget, pace: Pace
) -> tuple[Chosen, Costs]:
    """All settings that are left open, and the seconds of a step of both stages.

    Args:
        seen: The images.
        data: Where the images are.
        out: Folder of the run.

    Raises:
        ConfigError: settings that cannot be combined, or less time than the smallest training needs.
    """
    images = Images.of(seen, asked, data)
    first, first_s = fitting_tokenizer(images, asked, out, budget, pace)
    if not (asked.image_size or images.start) and seen.images >= FEW:
        larger = larger_size(images, asked, first, first_s, budget, pace)
        if larger.size != images.size:
            images = larger
            first, first_s = fitting_tokenizer(images, asked, out, budget, pace)
    second, second_s, network = fitting_denoiser(images, asked, out, first, budget, pace)
    costs = Costs(first_s / first.train.batch_size, second_s / second.train.batch_size)
    found = with_steps(first, second, images, asked, budget, costs)
    mirror = f"mirror images look {'alike' if images.data.flip else 'different'} ({seen.facing:.2f})"
    grid = "x".join(map(str, first.tokenizer.grid(images.size)))
    f, codes = first.tokenizer.downsampling, first.tokenizer.num_codes
    reasons = [
        Reason("image_size", shown(images.data.image_size), images.why_size),
        Reason("channels", str(images.data.channels), kind_of(seen)),
        Reason("flip", str(images.data.flip).lower(), mirror),
        Reason("start_from", images.start or "none", images.why_start),
        *beginning(images, asked),
        Reason("downsampling", str(f), f"{grid} codes per image, of {codes}"),
        Reason(
            "tokenizer_width", str(first.tokenizer.width), f"{first_s:.2g} s per step of {BATCH[0]} images"
        ),
        Reason("width", str(second.denoiser.width), network),
        Reason("depth", str(second.denoiser.depth), f"{second_s:.2g} s per step of {BATCH[1]} images"),
        Reason("tokenizer_steps", str(found[0].train.steps), "a third of the time"),
        Reason("steps", str(found[1].train.steps), LEFT.format(budget.minutes)),
        Reason("precision", first.train.mixed_precision, "auto: bf16 where it is at least as fast here"),
    ]
    asked_for = {f.name for f in dataclasses.fields(asked) if getattr(asked, f.name) != f.default}
    reasons = [dataclasses.replace(r, why=ASKED) if r.option in asked_for else r for r in reasons]
    return Chosen(*found, tuple(reasons)), costs


def kind_of(seen: Seen) -> str:
    """What the images show, in a few words."""
    kind = "grey images" if seen.grey else "images in colour"
    return kind + (", most of them with transparent parts" if seen.clear else "")


def beginning(images: Images, asked: OwnImages) -> list[Reason]:
    """How training continues from a trained model, if there is one (docs/training.md compares both ways)."""
    why = "sharper images than by its decoder alone, which would let stage two begin with the model too"
    return [Reason("learn", asked.learn, why)] if images.start else []


def shown(size: int | tuple[int, int]) -> str:
    """An image size as the option takes it."""
    height, width = size_pair(size)
    return str(height) if height == width else f"[{height},{width}]"


def loop(steps: int, previews: int, few: bool) -> dict[str, Any]:
    """Settings of a training loop of the given number of steps: averaging over about the last 15 %, as in the
    measured trainings."""
    often = max(1, math.ceil(steps / previews))
    return {
        "steps": steps,
        "warmup_steps": max(1, min(100, steps // 15)),
        "ema": min(0.9995, max(0.9, round(1 - 7.5 / steps, 4))),
        "log_every": max(1, min(20, steps // 50)),
        "preview_every": often,
        "checkpoint_every": often,
        "patience": PATIENCE if few else 0,
    }


def with_steps(
    first: TokenizerRun, second: DiffusionRun, images: Images, asked: OwnImages, budget: Budget, costs: Costs
) -> tuple[TokenizerRun, DiffusionRun]:
    """Both runs with as many steps as their time holds.

    Raises:
        ConfigError: fewer than :data:`~.budget.LEAST_STEPS`.
    """
    early, late = budget.parts(costs)
    steps = (asked.tokenizer_steps or early.steps, asked.steps or late.steps)
    if not (asked.tokenizer_steps and asked.steps):
        enough = budget.enough_minutes(costs)
        hint = (
            f"leave time for {max(0, early.steps)} and {max(0, late.steps)} steps of the two stages, and"
            f" fewer than {LEAST_STEPS} teach nothing; give {enough:.1f} or more, a smaller image_size, or"
            " tokenizer_steps and steps"
        )
        check(min(steps) >= LEAST_STEPS, "minutes", asked.minutes, hint)
    loops = [loop(count, part.previews, images.few) for count, part in zip(steps, (early, late), strict=True)]
    return filled(first, {"train": loops[0]}, ""), filled(second, {"train": loops[1]}, "")


def train_again(data: DataConfig, out: str, minutes: float) -> list[str]:
    """Commands to train with other settings: both stages, or either one from its configuration file.

    Args:
        out: The run's folder.
        minutes: The time that it had.
    """
    if data.source in ("python", "huggingface"):  # which the command cannot name
        return [f"d3pm_image.train(data, minutes={2 * minutes:g}, out={f'{out}-2'!r})"]
    root = shlex.quote(printable(data.root or data.source, 0))
    first, second, config = (
        shlex.quote(f"{out}{end}") for end in ("-2/tokenizer", "-2", "/tokenizer/config.yaml")
    )
    return [
        f"d3pm-image train {root} --minutes {2 * minutes:g} --out {second}",
        f"d3pm-image train-tokenizer --config {config} --out {first}",
        f"d3pm-image train-diffusion --config {shlex.quote(f'{out}/config.yaml')} --tokenizer {first}"
        f" --out {second}",
    ]
