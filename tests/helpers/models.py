"""A pipeline of random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from d3pm_image import Pipeline
from d3pm_image.config import DenoiserConfig, ProcessConfig, SamplingConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.tokenizer import Pixels

OWN = sorted(
    [
        "config.json",
        *(
            f"{part}/{name}"
            for part in ("denoiser", "tokenizer")
            for name in ("config.json", "model.safetensors")
        ),
    ]
)


def pipeline(seed: int = 0) -> Pipeline:
    torch.manual_seed(seed)
    denoiser = Transformer(DenoiserConfig(width=16, depth=1, heads=1), 4, 2)
    for p in denoiser.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return Pipeline(
        Pixels(4, 1), denoiser, ProcessConfig(), (4, 4), ("cat", "dog"), sampling=SamplingConfig(steps=2)
    )


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def mark(pipe: Pipeline) -> float:
    return pipe.denoiser.tokens.weight[0, 0].item()
