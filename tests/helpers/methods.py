"""The configurations of named methods."""

from __future__ import annotations

import functools

from d3pm_image.cli.parsing import parse
from d3pm_image.config import DiffusionRun
from helpers.paths import ROOT

FOLDER = ROOT / "configs" / "methods"
NAMES = ("bert", "d3pm_absorbing", "d3pm_hybrid", "d3pm_uniform", "gidd", "maskgit", "md4", "multinomial_diffusion", "udlm", "vq_diffusion")


@functools.cache
def load(name: str) -> DiffusionRun:
    return parse("train-diffusion", DiffusionRun, ["--config", str(FOLDER / f"{name}.yaml")])
