"""``d3pm-image models``: the models that commands accept by name on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from ..label_sets import listed
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Models:
    """List the models that commands take by name: those that came with the package, and those of the hub that
    were downloaded. Other models are given by the path of their folder or run.

    Args:
        classes: Also list the names of each model's classes.

    Example:
        d3pm-image models
    """

    classes: bool = False


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image models`` and print the list."""
    from ..model_list import known_models

    args = parse("models", Models, arguments)
    found = known_models()
    width = max((len(one.name) for one in found), default=0)
    for one in found:
        print(f"{printable(one.name):<{width}}  {one.line()}")
        if args.classes:
            print(f"{'':<{width}}  {printable(listed(one.classes), 2000)}")
