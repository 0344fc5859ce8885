"""``d3pm-image train-diffusion``: a parser over :func:`d3pm_image.recipes.diffusion.run`."""

from __future__ import annotations

from ..config import DiffusionRun
from ..parser import parse


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image train-diffusion`` and run it. Raises ConfigError for wrong input."""
    config = parse("train-diffusion", DiffusionRun, arguments)
    from ..recipes.diffusion import run

    run(config)
