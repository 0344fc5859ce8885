"""Settings of training both stages on your own images in a given time; all else is chosen automatically."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..devices import MixedPrecision
from ..errors import check, finite
from .data import MAX_SIDE, size_pair
from .worded import worded

MINUTES = 30.0
"""Default time for everything, in minutes."""


@dataclass(frozen=True, kw_only=True)
class OwnImages:
    """Train both stages on your own images in a given time: image size, networks, steps and mirroring are
    chosen by the images, this machine and the time, after a short measurement. Every option below that is 0,
    empty or null is chosen, and printed with its reason. Ends with new images, an inpainting and a report.

    Args:
        minutes: Time for everything, from reading the images to the report; 0 is 30 minutes, or that of the
            training that is resumed.
        out: Folder of the run: the trained model, report.html and, in tokenizer, the run of stage one.
            Default: runs/NAME, after the images.
        resume: Continue an interrupted training in out, with its choices.
        image_size: Side in pixels to train at, or height and width as [h, w].
        channels: 1 for grey, 3 for colour; 2 and 4 with alpha, for transparent images.
        flip: Mirror images left to right at random.
        labels: Of a folder, other labels than its class folders: a CSV file (LABELS.csv, or
            LABELS.csv:group,style for some of its columns) whose first column has file names and each further
            one a set of labels; or names for the levels of subfolders, such as group/style.
        downsampling: Pixels per side of a code cell: 1, 2, 4, 8 or 16.
        tokenizer_width: Channels of the tokenizer's first level.
        width: Channels of the denoiser.
        depth: Blocks of the denoiser.
        tokenizer_steps: Steps of stage one.
        steps: Steps of stage two.
        start_from: Trained model whose weights training begins with, or none. For fewer than 2,000 images, a
            model that comes with the package and fits their size and channels is chosen.
        learn: With start_from: all trains the whole tokenizer, and stage two starts with new weights on its
            codes; decoder keeps the model's codes, so that stage two continues from its weights as well.
        precision: bf16, no (float32), fp16 (GPU), or auto: bf16 where the device is at least as fast with it.
        seed: Determines the order of data, noise and new weights.
        open: Show the report in the browser: the previews while it trains, then the results.
    """

    minutes: float = worded(0.0, f"{MINUTES:g}")
    out: str = ""
    resume: bool = False
    image_size: int | tuple[int, int] = worded(0, "chosen by the images and the time")
    channels: Literal[0, 1, 2, 3, 4] = worded(0, "chosen by the images")
    flip: bool | None = worded(None, "chosen by the images")
    labels: str = worded("", "class folders, if there are any")
    downsampling: Literal[0, 1, 2, 4, 8, 16] = worded(0, "chosen with the size")
    tokenizer_width: int = worded(0, "chosen by the time")
    width: int = worded(0, "chosen by the time")
    depth: int = worded(0, "chosen by the time")
    tokenizer_steps: int = worded(0, "chosen by the time")
    steps: int = worded(0, "chosen by the time")
    start_from: str = ""
    learn: Literal["all", "decoder"] = "all"
    precision: MixedPrecision = "auto"
    seed: int = 0
    open: bool = False

    def __post_init__(self) -> None:
        hint = "give the minutes that the training may take, such as 30"
        check(finite(self.minutes) and 0 <= self.minutes <= 1e6, "minutes", self.minutes, hint)
        sides = size_pair(self.image_size)
        hint = f"give a side of 1 to {MAX_SIDE} pixels, such as 64 or [48, 64], or 0 to choose"
        right = self.image_size == 0 or (min(sides) >= 1 and max(sides) <= MAX_SIDE)
        check(right, "image_size", self.image_size, hint)
        hint = "use 1 (grey), 3 (colour), 2 or 4 (these with alpha), or 0 to choose"
        check(self.channels in (0, 1, 2, 3, 4), "channels", self.channels, hint)
        hint = "use 1, 2, 4, 8 or 16, or 0 to choose"
        check(self.downsampling in (0, 1, 2, 4, 8, 16), "downsampling", self.downsampling, hint)
        for name in ("tokenizer_width", "width"):
            hint = "use a multiple of 8, or 0 to choose"
            check(getattr(self, name) >= 0 and getattr(self, name) % 8 == 0, name, getattr(self, name), hint)
        for name in ("depth", "tokenizer_steps", "steps"):
            hint = "give a positive number, or 0 to choose"
            check(getattr(self, name) >= 0, name, getattr(self, name), hint)
        check(self.learn in ("all", "decoder"), "learn", self.learn, "use all or decoder")
        check(0 <= self.seed < 2**32, "seed", self.seed, "give a seed from 0 to 4294967295")
