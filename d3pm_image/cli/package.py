"""``d3pm-image package MODEL``: a model as a folder to give away: half precision, a model card, samples; and onto the hub if asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..config import need
from ..printable import printable
from .options import OutputOptions, pick_device
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Package(OutputOptions):
    """Make a folder to give away of a trained model: weights in half precision, a model card from what the model remembers, samples.

    Args:
        model: Model folder, or the run that trained it.
        out: Folder to write. Where it holds a model already, that one stays and the new one gets the next free number, unless overwrite is given.
        name: Title of the card, and what others load it as. Default: the hub name, or that of the folder.
        licence: Licence of the weights, as the hub names it (apache-2.0, mit, cc-by-4.0).
        note: A paragraph for the card: where the data comes from, what the model is for.
        tokenizer: Tokenizer to give away in place of the model's own, one that gives the same codes: made by train-tokenizer with start_from MODEL and learn decoder.
        evaluation: Result file of d3pm-image evaluate --out for this model; its figures go into the card.
        half: Write weights in half precision.
        push: Hub repository (OWNER/NAME) to upload the folder to; needs a login.
        private: Make that repository a private one.
        device: auto, cpu or cuda, for the samples.
    """

    model: str
    out: str
    name: str = ""
    licence: str = "apache-2.0"
    note: str = ""
    tokenizer: str = ""
    evaluation: str = ""
    half: bool = True
    push: str = ""
    private: bool = False
    device: str = "auto"

    def __post_init__(self):
        need(bool(self.out), "out", self.out, "name a folder")
        need(bool(self.licence.strip()), "licence", self.licence, "name one, such as apache-2.0")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    run(parse("package", Package, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Package) -> None:
    """Write the folder, and upload it if asked.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..packaging import package

    given = {item.name: getattr(args, item.name) for item in dataclasses.fields(args)}
    private, device = given.pop("private"), pick_device(given.pop("device"))
    out = package(**given, device=device)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{printable(out)}: {size / 1e6:.1f} MB, with a model card (README.md) and samples")
    if args.push:
        from ..hub import push

        print(f"uploaded: {push(out, args.push, private)}")
