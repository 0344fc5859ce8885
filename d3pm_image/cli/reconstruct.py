"""``d3pm-image reconstruct MODEL [IMAGES]``: pictures, or images of a data set, above their reconstructions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..config import need
from ..outputs import new_files
from ..printable import printable
from .options import OutputOptions, pick_device, say
from .parsing import parse


@dataclass(frozen=True)
class ShownSet:
    """A data set to show images of.

    Args:
        source: A data set by name, as train-tokenizer takes it (fashion_mnist, cifar10, …); empty for the one that the model was trained on.
        root: Folder of the data set, where it is not the usual one.
        part: Show held_out images, or training images.
    """

    source: str = ""
    root: str = ""
    part: Literal["held_out", "training"] = "held_out"


@dataclass(frozen=True)
class Reconstruct(OutputOptions):
    """Show pictures, or images of a data set, above what the tokenizer keeps of them. Without either, held-out images of the data that the model was trained on.

    Args:
        model: Tokenizer folder, model folder, or the run that trained either.
        images: Pictures, separated by commas, or a folder of pictures.
        data: Where the images come from, if no pictures are named.
        limit: Pictures of a folder or data set that are shown, spread evenly over it.
        out: Result picture.
        device: auto, cpu or cuda.
    """

    model: str
    images: str = ""
    data: ShownSet = field(default_factory=ShownSet)
    limit: int = 8
    out: str = "reconstruction.png"
    device: str = "auto"

    def __post_init__(self):
        need(1 <= self.limit <= 1000, "limit", self.limit, "show 1 to 1000 pictures")
        both = self.images and self.data != ShownSet()
        need(not both, "images", self.images, "pictures and a data set cannot both be shown; leave out one of them")
        mend = "name the folder as IMAGES: d3pm-image reconstruct MODEL FOLDER"
        need(self.data.source != "folder", "data.source", "folder", mend)


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image reconstruct`` and run it. Raises ConfigError for wrong input."""
    run(
        parse(
            "reconstruct",
            Reconstruct,
            arguments,
            {"model": "Tokenizer or model folder, or a run.", "images": "Pictures separated by commas, or a folder; or see --data."},
            optional=("images",),
        )
    )


def run(args: Reconstruct) -> None:
    """Raises ConfigError for wrong input; nothing is written then."""
    from ..evaluation.side_by_side import read_pictures, read_set, side_by_side
    from ..imaging import check_ending, save_image
    from ..tokenizer import load_tokenizer

    check_ending(Path(args.out))
    device = pick_device(args.device)
    pictures, notes = read_pictures(args.images, args.limit, args.out) if args.images else ([], [])
    say("reconstruct", notes)
    tokenizer, info = load_tokenizer(args.model)
    shown = pictures or read_set(info, args.model, args.limit, args.data.source, args.data.root, args.data.part == "held_out")
    sheet, mse = side_by_side(tokenizer.to(device), info, shown, device)
    with new_files(Path(args.out), args.overwrite) as files:
        save_image(sheet, files.draft)
    print(f"mean squared error {mse:.5f}: {printable(files.path)}")
