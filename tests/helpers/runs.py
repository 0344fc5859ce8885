"""Commands that train a stage, and what they leave."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from d3pm_image.training.checkpoint import checkpoints
from helpers.paths import ROOT
from helpers.tiny import TINY_DIFFUSION, TINY_TOKENIZER, free_port


def torchrun(*arguments: str, processes: int = 2) -> list[str]:
    """The command that starts processes together."""
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", free_port()]
    return [sys.executable, *launch, *arguments]


def command(stage: str, *extra: str, processes: int = 1) -> list[str]:
    launch = [sys.executable] if processes == 1 else torchrun(processes=processes)
    tiny = TINY_TOKENIZER if stage == "train_tokenizer" else TINY_DIFFUSION
    return [*launch, str(ROOT / "scripts" / f"{stage}.py"), *tiny, *extra]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def weights(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(checkpoints(folder / "checkpoints")[-1] / f"{name}.safetensors")


def stage_arguments(stage: str, trained: Path) -> list[str]:
    return [] if stage == "train_tokenizer" else ["--tokenizer", str(trained / "tokenizer")]
