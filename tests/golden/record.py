"""Records golden runs: loss curves of both stages, images of every sampler, an inpainting, an evaluation; float32, one thread, CPU.

    PYTHONPATH=tests python -m golden.record FOLDER

writes ``losses.json``, ``images.npz``, ``evaluation.json`` and ``environment.json``. The committed files were recorded at commit 30cd99f, before the structure
of the package changed; ``tests/integration/test_golden.py`` compares.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from d3pm_image.provenance.machine import machine

LOOP = {
    "train.steps": 30,
    "train.batch_size": 16,
    "train.warmup_steps": 5,
    "train.log_every": 1,
    "train.preview_every": 15,
    "train.checkpoint_every": 30,
}
DIGITS = {"data.source": "digits", "data.channels": 1}
NETWORK = {"token_start": "random", "denoiser.width": 32, "denoiser.depth": 2, "denoiser.heads": 2}
LEVEL = {
    "tokenizer.downsampling": 2,
    "tokenizer.multipliers": "[1]",
    "tokenizer.width": 16,
    "tokenizer.upsampling": "shuffle",
}
TOKENIZERS: dict[str, dict[str, Any]] = {
    "ema": {
        **LEVEL,
        "data.image_size": 8,
        "tokenizer.quantizer.num_codes": 32,
        "tokenizer.quantizer.code_dim": 8,
    },
    "fsq": {
        "data.image_size": 16,
        "tokenizer.downsampling": 4,
        "tokenizer.multipliers": "[1,2]",
        "tokenizer.width": 16,
        "tokenizer.quantizer.name": "fsq",
        "tokenizer.quantizer.levels": "[4,4,4]",
        "tokenizer.norm": "channel",
        "tokenizer.padding": "replicate",
        "tokenizer.upsampling": "shuffle",
        "loss.l1": 0.5,
        "loss.gradient": 0.5,
        "loss.ssim": 0.2,
        "loss.adversarial.weight": 0.3,
        "loss.adversarial.width": 8,
        "loss.adversarial.warmup_steps": 5,
        "loss.adversarial.ramp_steps": 5,
    },
    "cosine": {
        **LEVEL,
        "data.image_size": 8,
        "data.flip": "true",
        "tokenizer.quantizer.name": "cosine",
        "tokenizer.quantizer.num_codes": 16,
        "tokenizer.quantizer.code_dim": 4,
        "train.accumulate": 2,
    },
}
DENOISERS: dict[str, dict[str, Any]] = {
    "ema": {
        "process.uniform_share": 0.1,
        "train.optimizer": "muon",
        "train.muon_precision": "bf16",
        "loss.label_dropout": 0.2,
    },
    "fsq": {
        "process.corruption": "linear",
        "process.steps": 0,
        "loss.auxiliary": 0.0,
        "loss.bound": 1.0,
        "loss.fused": "true",
    },
    "cosine": {
        "process.uniform_share": 1.0,
        "process.steps": 100,
        "denoiser.patch": 2,
        "data.flip": "true",
        "train.ema": 0,
        "sampler.name": "ancestral",
    },
}
COMMON: dict[str, Any] = {
    "steps": 8,
    "seed": 11,
    "batch_size": 8,
    "guidance": 1.5,
    "correct_steps": 0,
    "temperature": 0.9,
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "confidence": {"gumbel": 4.5, "reveal": "cosine"},
    "entropy": {"gumbel": 1.0, "reveal": "arccos"},
    "margin": {"gumbel": 2.0, "reveal": "linear"},
    "halton": {"reveal": "arccos", "roll": False},
    "ancestral": {},
    "purity": {"gumbel": 1.0},
    "first_hitting": {},
    "ctmc": {"eta": 0.1, "form": "exact"},
    "renoise": {"eta": 1.0},
    "remask": {"eta": 0.1, "strategy": "cap"},
    "predictor_corrector": {"eta": 0.5},
}
TIMES = ("seconds", "images_per_s", "data_wait", "processes")
"""Fields of a log line that say how fast a run was, not what it computed."""


def words(options: dict[str, Any]) -> list[str]:
    """Options as a command line spells them."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def command(*arguments: Any) -> str:
    """Run a command of d3pm-image on one thread; its standard output."""
    from d3pm_image.cli import main

    threads, said = torch.get_num_threads(), io.StringIO()
    torch.set_num_threads(1)
    try:
        with contextlib.redirect_stdout(said):
            main([str(argument) for argument in arguments])
    finally:
        torch.set_num_threads(threads)
    return said.getvalue()


def curve(run: Path) -> list[dict[str, float]]:
    """The log of a run without what depends on the machine's speed."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def train(folder: Path) -> dict[str, list[dict[str, float]]]:
    """Train every configuration in ``folder``; the loss curves by name."""
    curves = {}
    for name, settings in TOKENIZERS.items():
        out, cache = folder / f"{name}-tokenizer", ["--cache", folder / "cache"]
        command("train-tokenizer", *words(DIGITS | LOOP | settings), "--out", out)
        curves[f"{name} tokenizer"] = curve(out)
        settings = DIGITS | LOOP | NETWORK | DENOISERS[name]
        command("train-diffusion", *words(settings), *cache, "--tokenizer", out, "--out", folder / name)
        curves[f"{name} denoiser"] = curve(folder / name)
    return curves


@contextlib.contextmanager
def former_levels() -> Iterator[None]:
    """Networks are told κ_t of the drawn tokens for the known ones too, as at the recorded commit."""
    from d3pm_image.sampling import levels

    kept = levels.average_level
    levels.average_level = lambda state, kappa: kappa
    try:
        yield
    finally:
        levels.average_level = kept


def draw() -> dict[str, np.ndarray]:
    """Images (8, 28, 28) uint8 of the shipped Fashion-MNIST model by every sampler, and an inpainting."""
    from d3pm_image import Box, Pipeline

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pipe = Pipeline.from_pretrained("fashion-mnist")
    found = {}
    for name, settings in SAMPLERS.items():
        images = pipe.generate(8, sampler=name, **COMMON, **settings)
        found[name] = np.stack([np.asarray(image) for image in images])
    whole = pipe.generate(1, labels=["Dress"], sampler="ancestral", **COMMON)[0]
    with former_levels():
        edits = pipe.inpaint(
            whole, Box(6, 8, 12, 14), variants=4, sampler="confidence", gumbel=4.5, reveal="cosine", **COMMON
        )
    found["inpaint"] = np.stack([np.asarray(image) for image in edits])
    torch.set_num_threads(threads)
    return found


def evaluate(folder: Path) -> dict[str, Any]:
    """The evaluation of 64 samples by the first denoiser, with its bound."""
    options = {
        "num_samples": 64,
        "likelihood": "true",
        "draws": 1,
        "seed": 3,
        "steps": 4,
        "sampler": "ancestral",
    }
    command("evaluate", folder / "ema", *words(options), "--out", folder / "evaluation.json")
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def environment() -> dict[str, str]:
    """What the last digits depend on: another maker's processor multiplies matrices by other code."""
    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "processor": str(machine()["processor"]),
        "numpy": np.__version__,
    }


def main() -> None:
    """Record everything into the folder that the command line names."""
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["D3PM_IMAGE_CACHE"] = f"{scratch}/home"
        curves = train(Path(scratch))
        (place / "losses.json").write_text(json.dumps(curves, indent=0), encoding="utf-8")
        (place / "evaluation.json").write_text(
            json.dumps(evaluate(Path(scratch)), indent=1), encoding="utf-8"
        )
    np.savez_compressed(place / "images.npz", **draw())
    (place / "environment.json").write_text(json.dumps(environment(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
