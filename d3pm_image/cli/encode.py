"""``d3pm-image encode``: a parser over :func:`~d3pm_image.recipes.encode.encode`."""

from __future__ import annotations

from ..config.encode import Encode
from ..parser import parse


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image encode`` and run it. Raises ConfigError for wrong input."""
    args = parse("encode", Encode, arguments)
    from ..recipes.encode import encode

    encode(**vars(args))
