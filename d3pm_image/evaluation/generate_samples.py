"""Samples of an evaluation, drawn by one process or several: sample i is the same either way."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..training.launch import gathered, meet, place_among_processes
from .samples import draw_images
from .sweep import Meter, calls_expected

if TYPE_CHECKING:
    from ..pipeline import Pipeline


@dataclass(frozen=True)
class Drawn:
    """Samples and how they were made.

    Args:
        images: (n, C, h, w) uint8. labels: (n,) the requested classes.
        calls_per_image: Network calls.
        seconds: Wall time of drawing and decoding, of the slowest process.
        sha256: Of the images.
    """

    images: Tensor
    labels: Tensor
    calls_per_image: float
    seconds: float
    processes: int
    sha256: str


def draw(args: Any, pipe: Pipeline) -> Drawn | None:
    """The samples of an evaluation; None on all processes but the first."""
    rank, processes = place_among_processes()
    if processes > 1:
        meet()
    request = pipe.request(**args.changes())
    share = len(torch.arange(args.num_samples).tensor_split(processes)[rank])
    form = "drawing samples {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left"
    with tqdm(
        total=calls_expected(request.sampling),
        bar_format=form,
        mininterval=0.5,
        disable=rank > 0,
        leave=False,
    ) as bar:
        meter, began = Meter(bar, share), time.perf_counter()
        images, labels = draw_images(
            pipe, args.num_samples, args.seed, args.batch_size, args.changes(), meter, rank, processes
        )
        seconds = time.perf_counter() - began
    parts: list[Any] = [(images, labels, meter.calls, seconds)]
    if processes > 1:
        parts = gathered(parts[0])
        if rank > 0:
            return None
    images, labels = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()
    calls = round(sum(part[2] for part in parts) / args.num_samples, 3)
    return Drawn(images, labels, calls, max(part[3] for part in parts), processes, digest)
