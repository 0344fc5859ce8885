"""``d3pm-image reconstruct MODEL [IMAGES]``: images, or those of a data set, above their reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config.reconstruct import ReconstructConfig
from ..config.running import OutputOptions
from ..devices import pick_device
from ..outputs import new_files
from ..parser import parse
from ..printable import printable
from .options import say


@dataclass(frozen=True)
class Reconstruct(ReconstructConfig, OutputOptions):
    """Show images, or those of a data set, above their reconstructions by the tokenizer. By default, these
    are held-out images of the data that the model was trained on.

    Args:
        device: auto, cpu, cuda or mps (an Apple GPU; auto never takes it).

    Example:
        d3pm-image reconstruct runs/photos/tokenizer --out reconstructions.png
    """

    device: str = "auto"


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image reconstruct`` and run it. Raises ConfigError for wrong input."""
    texts = {
        "model": "Tokenizer or model folder, or a run.",
        "images": "Images separated by commas, or a folder; or see --data.",
    }
    run(parse("reconstruct", Reconstruct, arguments, texts, optional=("images",)))


def run(args: Reconstruct) -> None:
    """Raises ConfigError for wrong input; nothing is written then."""
    from ..evaluation.side_by_side import read_originals, read_set, side_by_side
    from ..imaging import check_ending, save_image
    from ..tokenizer import load_tokenizer

    check_ending(Path(args.out))
    device = pick_device(args.device)
    images, notes = read_originals(args) if args.images else ([], [])
    say("reconstruct", notes)
    tokenizer, info = load_tokenizer(args.model)
    shown = images or read_set(args, info)
    sheet, mse = side_by_side(tokenizer.to(device), info, shown, device)
    with new_files(Path(args.out), args.overwrite) as files:
        save_image(sheet, files.draft)
    print(f"mean squared error {mse:.5f}: {printable(files.path, 0)}")
