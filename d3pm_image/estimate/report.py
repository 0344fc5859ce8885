"""The numbers of ``d3pm-image estimate``: counted, measured on this machine, and computed for another; and
their report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..config import AdversarialConfig, DataConfig, DiffusionRun, TokenizerRun
from ..config.estimate import EstimateConfig
from ..denoiser import Transformer
from ..diffusion import Process
from ..label_sets import LabelSets
from ..printable import printable
from ..recipes import diffusion as diffusion_recipe
from ..recipes import tokenizer as tokenizer_recipe
from ..recipes.random_batches import diffusion_batch, tokenizer_batch
from ..system.threads import fitting_threads, torch_threads
from ..training.task import Loss as TrainingLoss
from ..training.timing import free_bytes, time_steps
from .flops import (
    Loss,
    count,
    diffusion_loss,
    imagined,
    tokenizer_loss,
    tokenizer_model,
)
from .grids import Codes

BUSY = 0.7  # share of its processors' time under which a measurement was disturbed
SPARE = 0.7  # share of the free memory that the measurement may fill


@dataclass(frozen=True)
class Problem:
    """A training to be estimated.

    Args:
        config: The run's settings.
        codes: Of its tokenizer, in stage two; None in stage one.
        images, classes: Of the training set.
        devices: Processes that share a step.
        label_sets: Of the training set, where its images have a label of each of several sets.
    """

    config: TokenizerRun | DiffusionRun
    codes: Codes | None
    images: int
    classes: int
    devices: int = 1
    label_sets: LabelSets | None = None

    @property
    def coded(self) -> Codes:
        """The codes, in stage two."""
        assert self.codes is not None
        return self.codes

    @property
    def part(self) -> int:
        """Images that one device computes at once."""
        return self.config.train.batch_size // self.devices // self.config.train.accumulate

    def network(self) -> nn.Module:
        """The untrained network of the run."""
        if isinstance(self.config, TokenizerRun):
            return tokenizer_model(self.config)
        return Transformer(
            self.config.denoiser, self.coded.num_codes, self.classes, self.coded.tile, self.label_sets
        )

    def loss(self, images: int) -> Loss:
        """The objective on random images or codes, of the network alone."""
        if isinstance(self.config, TokenizerRun):
            return tokenizer_loss(self.config, images)
        return diffusion_loss(self.config, self.coded.num_codes, self.coded.grid, self.classes, images)

    def training_loss(self) -> TrainingLoss:
        """The objective as the trainer calls it."""
        if isinstance(self.config, TokenizerRun):
            bare = dataclasses.replace(self.config.loss, perceptual=0.0, adversarial=AdversarialConfig())
            return tokenizer_recipe.make_loss(dataclasses.replace(self.config, loss=bare))
        process = Process.from_config(self.config.process, self.coded.num_codes)
        known_share = self.config.denoiser.known_share
        return diffusion_recipe.make_loss(process, self.config.loss, self.coded.grid, known_share)

    def batch(self, images: int) -> dict[str, torch.Tensor]:
        """Random images or codes, as the loader gives them."""
        if isinstance(self.config, TokenizerRun):
            return tokenizer_batch(self.config, images)
        return diffusion_batch(self.coded.num_codes, self.coded.grid, self.classes, images)


def figures_of(problem: Problem, notes: list[str], asked: EstimateConfig) -> dict[str, Any]:
    """All numbers of a training; ``notes`` gets the notes of the measurement, and is included."""
    figures = counted(problem)
    if asked.seconds:
        figures["measured"] = measured(problem, asked.seconds, notes)
    if asked.peak_tflops:
        figures["assumed"] = assumed(figures, asked.peak_tflops, asked.reached)
    return figures | {"notes": notes}


def counted(problem: Problem) -> dict[str, Any]:
    """Numbers that follow from the settings and the code alone."""
    train = problem.config.train
    with imagined():
        costs = count(problem.network(), problem.loss(problem.part), train)
    figures: dict[str, Any] = {
        "images": problem.images,
        "classes": problem.classes,
        "devices": problem.devices,
    }
    figures |= {"steps": train.steps, "batch_size": train.batch_size, "images_at_once": problem.part}
    figures["epochs"] = train.steps * train.batch_size / problem.images
    if problem.codes is not None:
        grid = problem.codes.grid
        figures |= {"num_codes": problem.codes.num_codes, "grid": list(grid)}
        figures["cache_bytes"] = cache_bytes(problem.config.data, grid, problem.images)
    figures |= dataclasses.asdict(costs) | {"flops_a_step": costs.flops}
    # kept checkpoints, best/ and model/
    figures["run_folder_bytes"] = train.keep * costs.checkpoint_bytes + 2 * costs.weights_bytes
    return figures


def cache_bytes(data: DataConfig, grid: tuple[int, int], images: int) -> int:
    """Bytes of the training images' cached codes: 16 bits per code, mirror images too where flips are
    configured, and a 64-bit label."""
    return images * (grid[0] * grid[1] * 2 * (2 if data.flip else 1) + 8)


def measured(problem: Problem, seconds: float, notes: list[str]) -> dict[str, Any] | None:
    """Hours on this machine from some real steps; None, with a note, if even one image does not fit.

    Raises:
        ConfigError: see :func:`~d3pm_image.training.timing.time_steps`.
    """
    train, peaks = problem.config.train, []
    single = dataclasses.replace(train, accumulate=1)
    for images in (1, 2):
        with imagined():
            peaks.append(count(problem.network(), problem.loss(images), single).peak_bytes)
    space, each = SPARE * free_bytes(), max(1, peaks[1] - peaks[0])
    if space < peaks[0]:
        notes.append(
            f"not measured: one image needs {bytes_text(peaks[0])}, more than {SPARE:.0%} of the memory that"
            " is free here"
        )
        return None
    largest = min(train.batch_size, int((space - peaks[0]) // each) + 1)
    torch.manual_seed(train.seed)
    with torch_threads(train.threads or fitting_threads()[0]):  # as a run takes them
        timing = time_steps(
            problem.network(), problem.training_loss(), problem.batch, train, largest, seconds
        )
    step = timing.step(train.batch_size)
    if timing.device == "cpu" and timing.worked < BUSY:
        notes.append(
            f"this machine was busy: the measurement was given {timing.worked:.0%} of its processors' time,"
            " so it may be that much slower than alone"
        )
    here = {
        "device": timing.device,
        "batches": list(timing.batches),
        "seconds_fixed": timing.fixed,
        "seconds_an_image": timing.each,
    }
    return here | {
        "seconds_a_step": step,
        "images_per_s": train.batch_size / step,
        "hours": step * train.steps / 3600,
    }


def assumed(figures: dict[str, Any], peak_tflops: float, reached: float) -> dict[str, Any]:
    """Hours on devices of a given peak rate, if training reaches a given fraction of it."""
    seconds = figures["flops_a_step"] / (peak_tflops * 1e12 * reached)
    hours = seconds * figures["steps"] / 3600
    stated = {"peak_tflops": peak_tflops, "reached": reached, "seconds_a_step": seconds}
    return stated | {"hours": hours, "device_hours": hours * figures["devices"]}


def bytes_text(count: float) -> str:
    """Bytes in the unit that keeps them short."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB" if count < 1000 else f"{count:,.0f} TB"


def hours_text(hours: float) -> str:
    """Hours as seconds, minutes or hours."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:,.1f} h" if hours < 100 else f"{hours:,.0f} h"


def report(f: dict[str, Any]) -> None:
    """Print the numbers in words."""
    rows = [*what_is_trained(f), *what_it_takes(f), *how_long(f)]
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {printable(text, 0)}" for name, text in rows))
    for note in f["notes"]:
        print(f"note: {printable(note, 0)}")


def what_is_trained(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Stage, steps and codes, as rows of the report."""
    devices, images = f["devices"], f"{f['images']:,} images"
    share = "" if devices == 1 else f", {f['batch_size'] // devices} on each of {devices} devices"
    steps = f"{f['steps']:,} steps of {f['batch_size']} images{share}"
    rows = [("stage", f["stage"]), ("training", f"{steps}; {f['epochs']:,.1f} epochs of {images}")]
    if "grid" in f:
        height, width = f["grid"]
        each = f"{f['cache_bytes'] / f['images']:.0f} bytes per image"
        rows.append(("codes", f"{height}x{width} of {f['num_codes']}; {f['classes']} classes"))
        rows.append(("code cache", f"{bytes_text(f['cache_bytes'])} ({each})"))
    return rows


def what_it_takes(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Operations, memory and disk, as rows of the report."""
    parts = ", ".join(f"{part} {f[f'{part}_flops']:.3g}" for part in ("forward", "backward", "optimizer"))
    operations = f"{f['flops_a_step']:.3g} FLOPs{' per device' if f['devices'] > 1 else ''}: {parts}"
    at_once = f"{f['images_at_once']} image{'s' if f['images_at_once'] > 1 else ''} at once"
    checkpoint = bytes_text(f["checkpoint_bytes"])
    peak = f"{bytes_text(f['peak_bytes'])} (tensors, the above and temporary ones; libraries come on top)"
    folder = f"{bytes_text(f['run_folder_bytes'])}, and {checkpoint} more while a checkpoint is written"
    return [
        ("parameters", f"{f['parameters']:,}"),
        ("operations per step", f"{operations} (counted: matrix products and convolutions)"),
        ("weights", bytes_text(f["weights_bytes"])),
        ("gradients", bytes_text(f["gradient_bytes"])),
        ("optimizer", bytes_text(f["optimizer_bytes"])),
        ("averaged weights", bytes_text(f["ema_bytes"])),
        ("activations", f"{bytes_text(f['activation_bytes'])} for {at_once}"),
        ("memory at its peak", peak),
        ("a checkpoint", checkpoint),
        ("the run's folder", folder),
    ]


def how_long(f: dict[str, Any]) -> list[tuple[str, str]]:
    """Time as measured here, and as computed for a peak rate, as rows of the report."""
    rows = []
    if m := f.get("measured"):
        rate = f"{m['seconds_a_step']:.3g} s per step, {m['images_per_s']:.3g} images/s, one process"
        batches = f"{' and '.join(map(str, m['batches']))} images"
        how = f"extrapolated from steps of {batches}, without validation, previews and encoding"
        rows.append((f"this machine ({m['device']})", f"{hours_text(m['hours'])}: {rate}; {how}"))
    if a := f.get("assumed"):
        rate = f"{a['seconds_a_step']:.3g} s per step if {a['reached']:.0%} of the peak is reached"
        all_hours = f"{a['device_hours']:,.0f} device hours"
        text = f"{hours_text(a['hours'])}: {rate} ({all_hours}); computed, not measured"
        rows.append((f"{f['devices']} x {a['peak_tflops']:g} TFLOP/s", text))
    return rows
