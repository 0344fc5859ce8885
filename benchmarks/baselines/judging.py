"""Samples of trained baselines: time, label accuracy, Fréchet distance, precision and recall, density and coverage."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from d3pm_image.evaluation.samples import Judge
from d3pm_image.seeds import derive

from .entries import Drawing
from .problem import Baseline


@torch.no_grad()
def draw(baseline: Baseline, drawing: Drawing, labels: Tensor, seed: int, batch_size: int) -> tuple[Tensor, float]:
    """Codes (n, N) of images with labels (n,), and the seconds that they took: processor time over threads, which other work on the machine
    does not lengthen; on a GPU the wall clock."""
    clock, threads = (time.process_time, torch.get_num_threads()) if labels.device.type == "cpu" else (time.perf_counter, 1)
    began, parts = clock(), []
    for start in range(0, len(labels), batch_size):
        part = labels[start : start + batch_size]
        parts.append(baseline.sample(part, drawing.calls, derive(seed, start), drawing.guidance, **drawing.settings))
    return torch.cat(parts), (clock() - began) / threads


def judge(
    baseline: Baseline, drawing: Drawing, referee: Judge, tokenizer, labels: Tensor, grid: tuple[int, int], seed: int, batch_size: int
) -> dict[str, Any]:
    """The row of a drawing."""
    codes, seconds = draw(baseline, drawing, labels, seed, batch_size)
    with torch.no_grad():
        images = [tokenizer.decode(part.view(-1, *grid)).cpu() for part in codes.split(batch_size)]
    measured = referee.measure((torch.cat(images) * 255).round().to(torch.uint8), labels.cpu())
    return {
        "group": drawing.group, "entry": drawing.entry, "sampler": drawing.sampler, "calls": drawing.calls,
        "correct_steps": drawing.settings.get("correct_steps", 0), "guidance": drawing.guidance,
        "settings": drawing.settings, "seconds_per_1000": round(seconds * 1000 / len(labels), 2),
        "label_accuracy": measured["label_accuracy"], **measured["fidelity"],
    }  # fmt: skip


def same(row: dict[str, Any], drawing: Drawing) -> bool:
    """Whether a row is of this drawing."""
    found = [row[name] for name in ("group", "entry", "sampler", "calls", "guidance", "settings")]
    return found == [drawing.group, drawing.entry, drawing.sampler, drawing.calls, drawing.guidance, drawing.settings]
