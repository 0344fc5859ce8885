"""``d3pm-image show IMAGE``: the settings that a PNG records, or the image made again from them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..config import check
from ..config.running import OutputOptions
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Show(OutputOptions):
    """Show how an image was made (PNGs record their settings), or make it again.

    Args:
        image: PNG by one of the other commands or by the page.
        json: Print the settings as JSON, all of them.
        again: Make the image again from its settings, and say whether every pixel is the same (exit code 1 if
            not).
        out: PNG for the new image. Default: IMAGE-again.png beside it.
        model: The model, if it has moved or comes from the hub.
        inputs: Input images, separated by commas, if they are not beside this one under their names.
        device: auto, cpu, cuda or mps (an Apple GPU; auto never takes it).

    Example:
        d3pm-image show grid.png
    """

    image: str
    json: bool = False
    again: bool = False
    out: str = ""
    model: str = ""
    inputs: str = ""
    device: str = "auto"

    def __post_init__(self) -> None:
        both = "settings are either shown or run again; leave out one of --json and --again"
        check(not (self.json and self.again), "json", self.json, both)
        png = not self.out or Path(self.out).suffix.lower() == ".png"
        check(png, "out", self.out, "use the ending .png, which can store the settings")
        for name in ("out", "model", "inputs"):
            hint = "is for --again true only; leave it out"
            check(self.again or not getattr(self, name), name, getattr(self, name), hint)


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image show`` and run it; exit code 1 if an image made again has other
    pixels."""
    if not run(parse("show", Show, arguments, {"image": "PNG whose settings are shown."})):
        sys.exit(1)


def run(args: Show) -> bool:
    """Show the settings, or make the image again; False if it has other pixels.

    Raises:
        ConfigError: an image without settings, or whose model or inputs are missing; nothing is written then.
    """
    from ..provenance import describe, read_settings

    metadata = read_settings(args.image)
    if args.again:
        from ..provenance.again import make_again

        kind, work = repeated(metadata["command"])
        path, different = make_again(
            args.image, metadata, kind, work, args.out, args.model, args.inputs, args.device, args.overwrite
        )
        print(f"{metadata['command']} again: {printable(path, 0)}")
        known = "" if metadata.get("weights_sha256") else " (the image does not say which weights made it)"
        print(f"{printable(different or f'every pixel is as in {Path(args.image).name}', 1000)}{known}")
        return not different
    if args.json:
        print(json.dumps(metadata, indent=1))  # ASCII alone: what is printed may be a stranger's
    else:
        lines = {printable(name): printable(text, 500) for name, text in describe(metadata).items()}
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
    return True


def repeated(command: str) -> tuple[type, Callable[[Any], None]]:
    """Options and work of a command that makes images."""
    from . import edit, generate, interpolate

    if command in edit.EDITS:
        return edit.EDITS[command][0], partial(edit.run, command)
    if command == "interpolate":
        return interpolate.Interpolate, interpolate.run
    return generate.Generate, generate.run
