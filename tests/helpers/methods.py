"""The configurations of named methods."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from d3pm_image.config import DiffusionRun
from d3pm_image.diffusion import Objective, Process
from d3pm_image.parser import parse
from helpers.paths import ROOT
from helpers.textbook import (
    K,
)

FOLDER = ROOT / "configs" / "methods"
NAMES = (
    "bert",
    "d3pm_absorbing",
    "d3pm_hybrid",
    "d3pm_uniform",
    "gidd",
    "maskgit",
    "md4",
    "multinomial_diffusion",
    "udlm",
    "vq_diffusion",
)


@functools.cache
def load(name: str) -> DiffusionRun:
    return parse("train-diffusion", DiffusionRun, ["--config", str(FOLDER / f"{name}.yaml")])


def method(name: str) -> tuple[Process, Objective]:
    """The process for K codes, and the objective."""
    return Process.from_config(load(name).process, K), Objective.from_config(load(name).loss)


def random_logits(*shape: int, seed: int) -> Tensor:
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def times(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
