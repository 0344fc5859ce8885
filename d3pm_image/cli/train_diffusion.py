"""``d3pm-image train-diffusion``: a parser over :func:`~d3pm_image.recipes.diffusion.train_diffusion`."""

from __future__ import annotations

from ..config import DiffusionRun
from .parsing import parse


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image train-diffusion`` and run it. Raises ConfigError for wrong input."""
    config = parse("train-diffusion", DiffusionRun, arguments)
    from ..recipes.diffusion import train_diffusion

    train_diffusion(**vars(config))
