"""What a run of stage two trains, at toy size."""

from __future__ import annotations

from collections.abc import Callable

import torch

from d3pm_image.config import DenoiserConfig, DiffusionLossConfig, ProcessConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.diffusion import Process
from d3pm_image.recipes.diffusion import make_loss
from d3pm_image.training.trainer import TrainTask

CODES, GRID, CLASSES = 12, (4, 4), 3


def denoiser_task(
    uniform_share: float = 0.1, fused: bool = False, width: int = 32
) -> tuple[TrainTask, Callable[[int], dict[str, torch.Tensor]]]:
    """A denoiser with its loss, and its batch of 6 images at a step."""
    torch.manual_seed(0)
    process = Process.from_config(ProcessConfig(uniform_share=uniform_share), CODES)
    network = Transformer(DenoiserConfig(width=width, depth=2, heads=2), CODES, CLASSES)

    def batch(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        codes = torch.randint(CODES, (6, GRID[0] * GRID[1]), generator=generator)
        return {"codes": codes, "labels": codes[:, 0] % CLASSES}

    loss = make_loss(process, DiffusionLossConfig(fused=fused), GRID)
    return TrainTask(network, lambda *_: [], loss), batch
