"""``d3pm-image train-tokenizer``: a parser over :func:`d3pm_image.recipes.tokenizer.run`."""

from __future__ import annotations

from ..config import TokenizerRun
from ..parser import parse


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image train-tokenizer`` and run it. Raises ConfigError for wrong input."""
    config = parse("train-tokenizer", TokenizerRun, arguments)
    from ..recipes.tokenizer import run

    run(config)
