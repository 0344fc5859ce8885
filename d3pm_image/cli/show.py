"""``d3pm-image show PICTURE``: the settings that a PNG carries, in words, or the picture made again from them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..config import need
from ..printable import printable
from .options import OutputOptions
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Show(OutputOptions):
    """Show how a picture was made (PNGs carry their settings), or make it again.

    Args:
        picture: PNG by one of the other commands or by the page.
        json: Print the settings as JSON, all of them.
        again: Make the picture again from its settings, and say whether every pixel is the same (exit code 1 where not).
        out: Where the new picture goes, a PNG; PICTURE-again.png beside it by default.
        model: The model, where it is not where it was then, or comes from the hub.
        inputs: Pictures that went in, separated by commas, where they are not beside this one under their names.
        device: auto, cpu or cuda.
    """

    picture: str
    json: bool = False
    again: bool = False
    out: str = ""
    model: str = ""
    inputs: str = ""
    device: str = "auto"

    def __post_init__(self):
        need(
            not (self.json and self.again),
            "json",
            self.json,
            "settings are either shown or run again; leave out one of --json and --again",
        )
        need(
            not self.out or Path(self.out).suffix.lower() == ".png",
            "out",
            self.out,
            "use the ending .png, which carries the settings",
        )
        for name in ("out", "model", "inputs"):
            need(
                self.again or not getattr(self, name), name, getattr(self, name), "is for --again true alone"
            )


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image show`` and run it; exit code 1 where a picture made again has other pixels."""
    if not run(parse("show", Show, arguments, {"picture": "PNG whose settings are wanted."})):
        sys.exit(1)


def run(args: Show) -> bool:
    """Show the settings, or make the picture again; False where its pixels are others then.

    Raises:
        ConfigError: a picture without settings, or what made it is not there; nothing is written then.
    """
    from ..provenance import describe, read_settings

    facts = read_settings(args.picture)
    if args.again:
        path, different = make_again(args, facts)
        print(f"{facts['command']} again: {printable(path)}")
        known = "" if facts.get("weights_sha256") else " (the picture does not say which weights made it)"
        print(f"{printable(different or f'every pixel is as in {Path(args.picture).name}', 1000)}{known}")
        return not different
    if args.json:
        print(json.dumps(facts, indent=1))  # ASCII alone: what is printed may be a stranger's
    else:
        lines = {printable(name): printable(text, 500) for name, text in describe(facts).items()}
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
    return True


def make_again(args: Show, facts: dict[str, Any]) -> tuple[Path, str]:
    """Run the command that the settings describe, and compare.

    Returns:
        The new picture, and what is different; empty where every pixel is the same.

    Raises:
        ConfigError: settings that no command wrote, or a model or picture that is not there any more.
    """
    from ..editing.image_files.files import read_picture
    from ..imaging import open_image
    from ..outputs import added, new_files
    from ..provenance import again, read_settings

    command, picture = facts["command"], Path(args.picture)
    need(
        command in again.REPEATABLE,
        "picture",
        args.picture,
        f"was made by {command!r}, which cannot be run again from a picture",
    )
    need(
        not facts.get("shows"),
        "picture",
        args.picture,
        "shows the steps of a decode; only results can be made again",
    )
    out = Path(args.out) if args.out else added(picture, "-again", ".png")
    need(
        out.resolve() != picture.resolve(),
        "out",
        str(out),
        "would overwrite the picture itself; choose another name",
    )
    inputs = again.find_inputs(args.picture, args.inputs, facts)
    mend = "would overwrite a picture that is read; choose another name"
    need(all(out.resolve() != path.resolve() for path in inputs), "out", str(out), mend)
    before, (kind, run) = open_image(picture), repeated(command)
    plan = again.planned(args.picture, facts, before.size, kind)
    model = again.find_model(args.model, facts)
    with tempfile.TemporaryDirectory(prefix="d3pm-image-") as folder:
        options = again.options_of(
            plan, facts, kind, inputs, read_picture(inputs[0]).image.size if inputs else None, Path(folder)
        )
        with contextlib.redirect_stdout(io.StringIO()):  # of files that are about to move
            run(kind(**options, model=model, device=args.device))
        made = again.result_of(plan, facts, Path(folder))
        then, now = facts.get("weights_sha256"), read_settings(made).get("weights_sha256")
        mend = "holds other weights than those that made the picture; name the right one with --model"
        need(then in (None, now), "model", args.model or model, mend)
        different = again.compare(picture.name, before, open_image(made), again.reasons(facts, plan))
        with new_files(out, args.overwrite) as files:
            files.draft.write_bytes(made.read_bytes())
    return files.path, different


def repeated(command: str) -> tuple[type, Callable[[Any], None]]:
    """Options and work of a command that makes pictures."""
    from . import edit, generate, interpolate

    if command in edit.EDITS:
        return edit.EDITS[command][0], partial(edit.run, command)
    return (
        (generate.Generate, generate.run)
        if command == "generate"
        else (interpolate.Interpolate, interpolate.run)
    )
