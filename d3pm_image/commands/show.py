"""``d3pm-image show PICTURE``: the settings that a PNG carries, in words, or the picture made again from them."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError, need
from .parsing import parse

REPEATABLE = ("generate", "inpaint", "outpaint", "edit", "vary", "interpolate")
PICTURES = {"generate": (), "interpolate": ("a", "b")}
"""Fields of a command that name pictures; ``image`` for all others."""
NOT_SETTINGS = {"model", "image", "mask", "a", "b", "out", "trajectory", "trajectory_ms", "device", "compile", "batch_size"}
"""Options that do not come from the picture: a picture of another's may not say what is read and written here."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show how a picture was made (PNGs carry their settings), or make it again.

    Args:
        picture: PNG by one of the other commands or by the page.
        json: Print the settings as JSON, all of them.
        again: Make the picture again from its settings, and say whether every pixel is the same.
        out: Where the new picture goes, a PNG; PICTURE-again.png beside it by default.
        model: The model, where it is not where it was then.
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
            not (self.json and self.again), "json", self.json, "settings are either shown or run again; leave out one of --json and --again"
        )
        need(not self.out or Path(self.out).suffix.lower() == ".png", "out", self.out, "use the ending .png, which carries the settings")
        for name in ("out", "model", "inputs"):
            need(self.again or not getattr(self, name), name, getattr(self, name), "is for --again true alone")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    words = []
    for word, after in zip(arguments, [*arguments[1:], ""]):
        bare = word in ("--again", "--json") and after.lower() not in ("true", "false")
        words.append(f"{word}=true" if bare else word)
    run(parse("show", Show, words, {"picture": "PNG whose settings are wanted."}))


def run(args: Show) -> None:
    """Raises ConfigError for pictures without settings, and where what made them is not there; nothing is written then."""
    from ..provenance import describe, read_settings

    facts = read_settings(args.picture)
    if args.again:
        make_again(args, facts)
    elif args.json:
        print(json.dumps(facts, indent=1, ensure_ascii=False))
    else:
        lines = describe(facts)
        width = max(map(len, lines))
        print("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))


def make_again(args: Show, facts: dict[str, Any]) -> None:
    """Run the command that the settings describe, and compare."""
    from ..provenance import read_settings

    command, picture = facts["command"], Path(args.picture)
    need(command in REPEATABLE, "picture", args.picture, f"was made by {command!r}, which cannot be run again from a picture")
    need(not facts.get("shows"), "picture", args.picture, "shows the steps of a decode; only results can be made again")
    out = Path(args.out) if args.out else picture.with_name(f"{picture.stem}-again.png")
    need(out.resolve() != picture.resolve(), "out", str(out), "would overwrite the picture itself; choose another name")
    inputs = find_inputs(args, facts)
    need(
        all(out.resolve() != path.resolve() for path in inputs),
        "out",
        str(out),
        "would overwrite a picture that is read; choose another name",
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.stem}.", dir=out.parent) as place:
        words = command_words(args, facts, inputs, Path(place))
        with contextlib.redirect_stdout(io.StringIO()):  # of files that are about to move
            importlib.import_module(f".{command}", __package__).main(words)
        made = Path(place, "result.png") if "number" not in facts else next(Path(place, "result").iterdir())
        then, now = facts.get("weights_sha256"), read_settings(made).get("weights_sha256")
        need(then in (None, now), "model", args.model or facts.get("model"), "holds other weights than those that made the picture; name the right one with --model")  # fmt: skip
        same = compare(picture, made)
        os.replace(made, out)
    print(f"{command} again: {out}\n{same}" + ("" if then else " (the picture does not say which weights made it)"))


def command_words(args: Show, facts: dict[str, Any], inputs: list[Path], place: Path) -> list[str]:
    """Arguments of the command that makes the picture, into ``place``.

    Raises:
        ConfigError: a setting that is no plain value, or no model.
    """
    from ..provenance import mask_of, recorded_model

    command = facts["command"]
    kind = getattr(importlib.import_module(f".{command}", __package__), command.capitalize())
    names = {field.name for field in dataclasses.fields(kind)} - NOT_SETTINGS
    given = {name: value for name, value in facts.items() if name in names and value is not None}
    if "number" in facts:
        given |= {"first": facts["number"], "num_images": 1}
    if command not in PICTURES and "variants" not in facts:
        given["variants"] = 1
    if "variant" in facts:
        given |= {"first": facts["variant"], "variants": 1}
    need(all(isinstance(value, (str, int, float)) for value in given.values()), "picture", args.picture, "its settings are damaged")
    model = args.model or recorded_model(facts)
    need(isinstance(model, str) and bool(model), "model", model, "the picture does not name its model; name it with --model")
    words = [str(model), *map(str, inputs)]
    if facts.get("mask"):
        mask_of(facts["mask"]).save(place / "mask.png")
        words.append(str(place / "mask.png"))
    words += [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in given.items()]
    return [*words, f"--device={args.device}", f"--out={place / ('result' if 'number' in facts else 'result.png')}"]


def find_inputs(args: Show, facts: dict[str, Any]) -> list[Path]:
    """The pictures that went in: as named, or under their recorded names beside the picture or in the working folder.

    Raises:
        ConfigError: not recorded, not there, or not the same any more.
    """
    from ..storage import sha256

    fields = PICTURES.get(facts["command"], ("image",))
    named = [name.strip() for name in args.inputs.split(",")] if args.inputs else []
    need(not named or len(named) == len(fields), "inputs", args.inputs, f"{facts['command']} takes {len(fields)} pictures")
    found = []
    for number, field in enumerate(fields):
        recorded = facts.get(field)
        need(bool(named) or isinstance(recorded, str), "inputs", "", "the picture does not say what went in; name it with --inputs FILE")
        places = [Path(named[number])] if named else [folder / Path(str(recorded)).name for folder in (Path(args.picture).parent, Path())]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            text = "no such file" if named else "went in, and is not beside the picture any more; name it with --inputs FILE"
            raise ConfigError("inputs", named[number] if named else recorded, text)
        known = facts.get(f"{field}_sha256")
        need(known in (None, sha256(path)), "inputs", str(path), "is not the picture that went in: its content differs; name it with --inputs FILE")  # fmt: skip
        found.append(path)
    return found


def compare(one: Path, other: Path) -> str:
    """Whether two pictures show the same, in a line."""
    import numpy as np

    from ..image_files import opened

    with opened(one) as a, opened(other) as b:
        if a.size != b.size or a.mode != b.mode:
            return f"differs from {one.name}: {b.width}x{b.height} {b.mode} in place of {a.width}x{a.height} {a.mode}"
        differing = np.asarray(a) != np.asarray(b)
    share = (differing.any(-1) if differing.ndim > 2 else differing).mean()
    if not share:
        return f"every pixel is as in {one.name}"
    return f"{share:.1%} of the pixels differ from {one.name}: another device, precision or version of torch may do that"
