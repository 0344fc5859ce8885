"""Part one: what a GPU does. Each step is a process of its own, so that one that fails or hangs takes its own
figures with it and no others; a step writes after each figure what it has so far."""

from __future__ import annotations

import copy
import functools
import gc
import os
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from d3pm_image.config import (
    DenoiserConfig,
    DiffusionLossConfig,
    DiffusionRun,
    ProcessConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.denoiser import Transformer
from d3pm_image.devices import pick_device
from d3pm_image.diffusion import Objective, Process, bound_terms, fused_loss
from d3pm_image.diffusion import diffusion_loss as plain_loss
from d3pm_image.estimate.flops import count, diffusion_loss, imagined
from d3pm_image.parser import parse
from d3pm_image.pipeline import Pipeline
from d3pm_image.provenance.machine import machine
from d3pm_image.recipes import diffusion, tokenizer_parts
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.autoencoder import arrange
from d3pm_image.training.loop import make_accelerator
from d3pm_image.training.trainer import Trainer, TrainTask

from ..speed import peers
from . import LIMIT

ROOT = Path(__file__).resolve().parents[2]
CLASSES = 10
NETWORKS = {  # width, depth, images of a step
    "7M": (256, 6, 256),
    "25M": (448, 8, 256),
    "100M": (768, 10, 128),
    "300M": (1152, 14, 64),
}
MODES: dict[str, bool | str] = {"eager": False, "compiled": True, "graphs": "reduce-overhead"}
ORDER = [
    *(("eager", name) for name in NETWORKS),
    *(("graphs", "7M"), ("compiled", "7M"), ("compiled", "100M"), ("compiled", "25M"), ("compiled", "300M")),
]
TOKENIZERS = {"tokenizer_64_f4": 64, "tokenizer_128_f8": 32, "tokenizer_256_f16": 16}

Note = Callable[[str, Any], None]
"""Takes a figure's name and its value."""


def wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_mb(device: torch.device) -> float | None:
    """Largest memory of tensors since the last reset, in MB; None on a processor."""
    return round(torch.cuda.max_memory_allocated(device) / 1e6, 1) if device.type == "cuda" else None


def forget(device: torch.device) -> None:
    """Begin a new measurement of memory, without what an earlier one left."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def seconds(call: Callable[[], object], device: torch.device, toy: bool, warm: int = 3) -> float:
    """Mean duration of a call, over as many as take about two seconds."""
    for _ in range(1 if toy else warm):
        call()
    wait(device)
    began, calls = time.perf_counter(), 0
    while calls < (1 if toy else 5) or (not toy and time.perf_counter() - began < 2 and calls < 200):
        call()
        calls += 1
        if calls % 5 == 0:
            wait(device)
    wait(device)
    return (time.perf_counter() - began) / calls


def product_rate(kind: torch.dtype, device: torch.device, toy: bool) -> float:
    """Operations per second of a product of large square matrices."""
    square = torch.randn(*(2 * [256 if toy else 8192]), device=device).to(kind)
    return 2 * len(square) ** 3 / seconds(functools.partial(torch.matmul, square, square), device, toy)


def environment(note: Note, device: torch.device, toy: bool) -> None:
    """The machine, its matrix rate and its memory's."""
    note("machine", machine())
    note("torch", torch.__version__)
    if device.type == "cuda":
        note("gpu", torch.cuda.get_device_name(device))
        note("memory_mb", round(torch.cuda.mem_get_info(device)[1] / 1e6))
    for name, kind in (("bf16", torch.bfloat16), ("float32", torch.float32)):
        note(f"product_{name}_tflops", round(product_rate(kind, device, toy) / 1e12, 3))
    a = torch.empty(2**20 if toy else 2**30, dtype=torch.uint8, device=device)
    note("copy_gb_per_s", round(2 * a.nbytes / seconds(lambda: a.clone(), device, toy) / 1e9, 1))


def tests(note: Note, device: torch.device, toy: bool) -> None:
    """``pytest -m gpu``; what it printed is kept also where it takes too long."""
    limit = float(os.environ.get(LIMIT, "60"))
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-m", "gpu"]
    chosen = ["tests/gpu", "-k", "logits or half or lie_there"] if toy else ["tests/gpu"]
    environ = os.environ | ({"D3PM_IMAGE_GPU_TESTS": "cpu"} if device.type == "cpu" else {})
    with tempfile.TemporaryFile() as file:
        run = functools.partial(subprocess.run, [*words, *chosen], cwd=ROOT, env=environ, stdout=file)
        try:
            note("exit_code", run(timeout=limit - 8, check=False).returncode)
        except subprocess.TimeoutExpired:
            note("exit_code", "stopped at its limit")
        file.seek(0)
        note("output", file.read().decode(errors="replace")[-4000:].splitlines())


def agreement(note: Note, device: torch.device, toy: bool) -> None:
    """How far a shipped model's logits, loss, gradients and samples differ between processor and device."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    here = Pipeline.from_pretrained("fashion-mnist", "cpu", "float32")
    there = copy.deepcopy(here).to(device)
    images, grid = 4 if toy else 64, here.grid
    process = Process.from_config(ProcessConfig(), here.tokenizer.num_codes)
    codes = here.generate_codes(images, steps=2, seed=0).flatten(1)
    x_t = process.corrupt(codes, torch.full((images,), 0.5), torch.rand(*codes.shape, 3, dtype=torch.float64))
    labels, kappa = torch.arange(images) % CLASSES, torch.full((images,), 0.9)
    objective, t = (
        Objective.from_config(DiffusionLossConfig()),
        torch.full((images,), 0.5, dtype=torch.float64),
    )
    found = []
    for network, place in ((here.denoiser, torch.device("cpu")), (there.denoiser, device)):
        put = [v.to(place) for v in (codes, x_t, t, kappa, labels)]
        logits = network(put[1], put[3], put[4], grid)
        loss = plain_loss(process, objective, bound_terms(process, logits, *put[:3]), *put[:3])
        loss.backward()
        gradient = torch.cat([p.grad.flatten().cpu() for p in network.parameters() if p.grad is not None])
        found.append((logits.detach().cpu(), float(loss.detach()), gradient))
    (a, loss_a, g_a), (b, loss_b, g_b) = found
    note("logits_largest_difference", float((a - b).abs().max()))
    note("logits_largest", float(a.abs().max()))
    note("loss", [loss_a, loss_b])
    note("gradient_relative_difference", float((g_a - g_b).norm() / g_a.norm()))
    for name in ("ancestral", "confidence"):
        one, other = (p.generate_codes(images, steps=4, seed=1, sampler=name).cpu() for p in (here, there))
        note(f"equal_codes_{name}", float((one == other).double().mean()))
        parts = there.generate_codes(images, steps=4, seed=1, sampler=name, batch_size=3).cpu()
        note(f"equal_codes_in_batches_of_3_{name}", float((parts == other).double().mean()))


def step_of(
    task: TrainTask, batch: dict[str, Tensor], config: TrainConfig, accelerator: Accelerator | None = None
) -> Callable[[], object]:
    """A real training step on one batch."""
    trainer = Trainer(task, config, Path(), accelerator or make_accelerator(config))
    return lambda: trainer.step(batch)


def training(note: Note, device: torch.device, toy: bool) -> None:
    """Images per second of denoisers, and the share of the matrix rate that their operations reach; one that
    fails leaves the others."""
    rate = product_rate(torch.bfloat16, device, toy)
    for mode, name in ORDER[:1] if toy else ORDER:
        for fused in (False, True) if mode == "eager" else (False,):
            row = f"{name} {mode}{' fused' if fused else ''}"
            forget(device)
            try:
                note(row, denoiser_figures(mode, name, fused, rate, device, toy))
            except Exception as error:
                if toy:
                    raise
                note(row, f"{type(error).__name__}: {error}"[:300])


def denoiser_figures(
    mode: str, name: str, fused: bool, rate: float, device: torch.device, toy: bool
) -> dict[str, Any]:
    """Figures of one denoiser; ``rate`` is that of the matrix product, in operations per second."""
    side, codes = (4, 64) if toy else (16, 1024)
    width, depth, images = (32, 1, 4) if toy else NETWORKS[name]
    config = DiffusionRun(
        denoiser=DenoiserConfig(width, depth, max(1, width // 64)),
        loss=DiffusionLossConfig(fused=fused),
        train=TrainConfig(batch_size=images, mixed_precision="bf16", compile=MODES[mode], ema=0.999),
    )
    with imagined():
        costs = count(
            Transformer(config.denoiser, codes, CLASSES),
            diffusion_loss(config, codes, (side, side), CLASSES, images),
            config.train,
        )
    network = Transformer(config.denoiser, codes, CLASSES)
    loss = diffusion.make_loss(Process.from_config(config.process, codes), config.loss, (side, side))
    batch = {
        "codes": torch.randint(codes, (images, side**2), device=device),
        "labels": torch.randint(CLASSES, (images,), device=device),
    }
    began = time.perf_counter()
    step = step_of(TrainTask(network, lambda *_: [], loss), batch, config.train)
    step()
    wait(device)
    first, taken = time.perf_counter() - began, seconds(step, device, toy)
    return {
        "parameters": costs.parameters,
        "first_step_s": round(first, 2),
        "images_per_s": round(images / taken, 1),
        "share_of_products": round(costs.flops / taken / rate, 4),
        "peak_mb": peak_mb(device),
    }


def sampling(note: Note, device: torch.device, toy: bool) -> None:
    """This denoiser and a plain loop, eager and under CUDA graphs."""
    small = {"width": 32, "depth": 1, "codes": 64, "side": 4, "batch": 4, "steps": 2}
    whole = {"width": 256, "depth": 6, "codes": 1024, "side": 16, "batch": 64, "steps": 16}
    sizes = peers.Sizes(**(small if toy else whole), bf16=True, device=device.type)
    options = Namespace(halton="", amused=False, calls=[2], clock="wall", mode="reduce-overhead")
    note("eager", peers.measure(sizes, Namespace(**vars(options), compile=False), 1 if toy else 5))
    if device.type == "cuda":  # one shape, or every other one is compiled too
        options.calls = [sizes.batch]
        note("graphs", peers.measure(sizes, Namespace(**vars(options), compile=True), 3))


def tokenizers(note: Note, device: torch.device, toy: bool) -> None:
    """Training, encoding and decoding of the presets at 64, 128 and 256 pixels."""
    for name, images in list(TOKENIZERS.items())[: 1 if toy else None]:
        note(name, tokenizer_figures(tokenizer_run(name, 2 if toy else images), device, toy))


def tokenizer_figures(config: TokenizerRun, device: torch.device, toy: bool) -> dict[str, Any]:
    """Images per second and the largest memory of one tokenizer."""
    size, channels, images = config.data.image_size, config.data.channels, config.train.batch_size
    assert isinstance(size, int)
    network = Autoencoder(config.tokenizer, channels, 2**14)
    arrange(network.to(device), device.type)  # as a training does
    batch = torch.randint(256, (images, channels, size, size), dtype=torch.uint8).to(device)
    forget(device)
    accelerator = make_accelerator(config.train)
    task = TrainTask(network, lambda *_: [], tokenizer_parts.make_loss(config, accelerator))
    step = step_of(task, {"images": batch}, config.train, accelerator)
    found, floats = {"train": seconds(step, device, toy)}, batch.float() / 255
    training_mb = peak_mb(device)
    codes = network.eval().encode(floats)
    found |= {
        "encode": seconds(lambda: network.encode(floats), device, toy),
        "decode": seconds(lambda: network.decode(codes), device, toy),
    }
    rates = {name: round(images / taken, 1) for name, taken in found.items()}
    return {"images_per_s": rates, "training_peak_mb": training_mb, "batch": images}


def tokenizer_run(name: str, images: int) -> TokenizerRun:
    """The settings of a preset, with another batch size, in bf16."""
    words = ["--config", str(ROOT / "configs" / "tokenizer" / f"{name}.yaml")]
    words += ["--train.batch_size", str(images), "--train.mixed_precision", "bf16"]
    return parse("train-tokenizer", TokenizerRun, words)


def loss(note: Note, device: torch.device, toy: bool) -> None:
    """Time and memory of head and loss together, and apart, at small and large codebooks."""
    rows, tokens, width = (2, 16, 32) if toy else (64, 256, 512)
    for codes in (32, 64) if toy else (1024, 16384, 65535):
        process = Process.from_config(ProcessConfig(), codes)
        objective = Objective.from_config(DiffusionLossConfig())
        x_0 = torch.randint(codes, (rows, tokens), device=device)
        t = torch.linspace(0.1, 1, rows, dtype=torch.float64, device=device)
        x_t = process.corrupt(x_0, t, torch.rand(rows, tokens, 3, dtype=torch.float64, device=device))
        hidden = torch.randn(rows, tokens, width, device=device, requires_grad=True)
        head = nn.Linear(width, codes).to(device)

        def fused(process=process, objective=objective, x=(x_0, x_t, t), hidden=hidden, head=head) -> None:
            with torch.autocast(device.type, torch.bfloat16):
                fused_loss(process, objective, hidden, head.weight, head.bias, *x)[0].backward()

        def plain(process=process, objective=objective, x=(x_0, x_t, t), hidden=hidden, head=head) -> None:
            with torch.autocast(device.type, torch.bfloat16):
                terms = bound_terms(process, head(hidden), *x)
                plain_loss(process, objective, terms, *x).backward()

        for name, call in (("fused", fused), ("plain", plain)):
            forget(device)
            try:
                taken = seconds(call, device, toy, warm=1)
                note(f"K {codes} {name}", {"ms": round(1e3 * taken, 2), "peak_mb": peak_mb(device)})
            except torch.OutOfMemoryError:
                note(f"K {codes} {name}", "out of memory")


STEPS: dict[str, tuple[Callable[[Note, torch.device, bool], None], float]] = {
    "environment": (environment, 20),
    "agreement": (agreement, 20),
    "training": (training, 55),
    "sampling": (sampling, 30),
    "tokenizers": (tokenizers, 20),
    "loss": (loss, 15),
    "tests": (tests, 40),
}
"""Each step with the seconds that are kept for it, the most telling ones first; it may also take what those
before it have left."""


def run_step(name: str, note: Note, toy: bool) -> None:
    """One step on the device that is here."""
    device = torch.device("cpu" if toy else pick_device("auto"))
    torch.manual_seed(0)
    STEPS[name][0](note, device, toy)
