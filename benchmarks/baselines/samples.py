"""Samples of trained baselines: time, label accuracy, Fréchet distance, precision and recall, density and
coverage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.pixel_range import to_levels
from d3pm_image.seeds import derive

from .entries import Case
from .library import Library
from .problem import Baseline
from .setup import Setup


@dataclass(frozen=True)
class Request:
    """Which samples are drawn in every case: ``labels`` (n,) on the device of the network, seed, and images
    per pass."""

    labels: Tensor
    seed: int
    batch_size: int


@torch.no_grad()
def draw_codes(baseline: Baseline, case: Case, request: Request) -> tuple[Tensor, float]:
    """Codes (n, N), and the seconds that they took: processor time over threads, which other work on the
    machine does not lengthen; on a GPU the wall clock."""
    labels = request.labels
    on_cpu = labels.device.type == "cpu"
    clock, threads = (time.process_time, torch.get_num_threads()) if on_cpu else (time.perf_counter, 1)
    began, parts = clock(), []
    for start in range(0, len(labels), request.batch_size):
        part = labels[start : start + request.batch_size]
        seed = derive(request.seed, start)
        parts.append(baseline.sample(part, case.calls, seed, case.guidance, **case.settings))
    return torch.cat(parts), (clock() - began) / threads


def measure(
    baseline: Baseline, case: Case, request: Request, setup: Setup, evaluator: SampleEvaluator
) -> dict:
    """The row of a case."""
    codes, seconds = draw_codes(baseline, case, request)
    grid = setup.problem.grid
    with torch.no_grad():
        parts = codes.split(request.batch_size)
        images = [setup.tokenizer.decode(part.view(-1, *grid)).cpu() for part in parts]
    measured = evaluator.measure(to_levels(torch.cat(images)), request.labels.cpu())
    return {
        "group": case.group,
        "entry": case.entry,
        "sampler": case.sampler,
        "calls": case.calls,
        "correct_steps": case.settings.get("correct_steps", 0),
        "guidance": case.guidance,
        "settings": case.settings,
        "seconds_per_1000": per_1000(seconds, request),
        "label_accuracy": measured["label_accuracy"],
        **measured["fidelity"],
    }


def held_out_bits(baseline: Baseline, setup: Setup) -> dict[str, float]:
    """The variational bound of held-out codes in bits per code, for a process of this library."""
    assert isinstance(baseline, Library) and setup.held_out is not None
    found = baseline.held_out(setup.held_out)
    return {"bits": found.bits, "standard_error": found.standard_error, "images": found.images}


def per_1000(seconds: float, request: Request) -> float:
    """Seconds for 1,000 images."""
    return round(seconds * 1000 / len(request.labels), 2)


def is_row_of(row: dict[str, Any], case: Case) -> bool:
    """Whether a row is of this case."""
    names = ("group", "entry", "sampler", "calls", "guidance", "settings")
    return all(row[name] == getattr(case, name) for name in names)
