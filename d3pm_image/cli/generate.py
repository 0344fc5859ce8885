"""``d3pm-image generate MODEL``: new images as one labelled grid or one file per image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import need
from ..config.ranges import check_first
from ..labels import parse_labels
from ..printable import printable
from .options import WatchedOptions, say
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Generate(WatchedOptions):
    """Make new images with a trained model.

    Args:
        model: Model folder, or the run that trained it.
        num_images: How many.
        first: Number of the first one, so that a long request can be made in parts.
        labels: Classes to make, repeated in turn: names, numbers or a range (0..9), separated by commas; none
            for no class. A name comes before a number; one with a comma, or that reads as something else,
            stands in double quotes ('"a,b",c'). Default: every class in turn.
        out: A picture (grid.png) for one grid, or a folder for one file per image, named after its number,
            seed and class.
        columns: Images per row of the grid; 0 chooses.
        captions: Write the class under each image of the grid.
    """

    model: str
    num_images: int = 16
    first: int = 0
    labels: str = ""
    out: str = "grid.png"
    columns: int = 0
    captions: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        need(1 <= self.num_images <= 1_000_000, "num_images", self.num_images, "ask for 1 to 1000000 images")
        check_first(self.first)
        need(0 <= self.columns <= 1000, "columns", self.columns, "give 0 (choose) to 1000 images per row")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image generate`` and run it. Raises ConfigError for wrong input."""
    run(parse("generate", Generate, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Generate) -> None:
    """Generate and write.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..imaging import check_ending
    from ..outputs import folder_to_write
    from ..pipeline import load_pipeline
    from ..provenance import made_by
    from ..provenance.writing import listed, write_images

    out, one_picture = Path(args.out), bool(Path(args.out).suffix)
    check_ending(out) if one_picture else folder_to_write(out)
    watch = args.recorder([out])
    pipe = load_pipeline(args, args.model)
    labels = parse_labels(args.labels)
    ids = pipe.label_ids(labels, args.num_images, args.first)
    settings = pipe.request(**args.changes()).values()
    facts: dict[str, Any] = {"command": "generate", **made_by(args.model, pipe.tokenizer, pipe.denoiser)}
    facts |= {"seed": args.seed, "labels": args.labels, "precision": pipe.precision, **settings}
    if not (one_picture or args.overwrite):
        say_what_is_there(out)
    began, images, written = time.perf_counter(), [], []
    end = args.first + args.num_images
    # files are written as they come: nothing waits for the last
    for first in range(args.first, end, args.batch_size):
        count = min(args.batch_size, end - first)
        how: dict[str, Any] = {"seed": args.seed, "batch_size": args.batch_size}
        how |= {"first": first, "callback": watch}
        made = pipe.generate(count, labels, **how, **args.changes())
        if one_picture:
            images += made
        else:
            written += write_images(
                out, made, ids[first - args.first :], pipe.class_names, facts, first, end - 1, args.overwrite
            )
    if one_picture:
        path = write_grid(args, images, ids, pipe.class_names if args.captions else (), facts)
    where = printable(path, 0) if one_picture else listed(out, written)
    plural = "s" if args.num_images > 1 else ""
    print(f"{args.num_images} image{plural} in {time.perf_counter() - began:.1f} s: {where}")
    label = [*pipe.class_names, "no class"][ids[0]]
    args.show(watch, pipe, f"image {args.first} · {label} · {settings['sampler']} · seed {args.seed}", facts)


def say_what_is_there(out: Path) -> None:
    """A note on a folder that holds files already."""
    there = sum(1 for _ in out.iterdir()) if out.is_dir() else 0
    if there:
        files = f"{there} other file{'s' * (there > 1)}"
        say("generate", [f"{out} holds {files} already; the new ones are added"])


def write_grid(
    args: Generate, images: Sequence[Any], ids: Sequence[int], names: Sequence[str], facts: dict[str, Any]
) -> Path:
    """All images side by side in one file; where it is."""
    from ..imaging import labelled_grid, save_image
    from ..outputs import new_files

    layout = {
        name: getattr(args, name) for name in ("num_images", "first", "columns", "captions", "batch_size")
    }
    with new_files(Path(args.out), args.overwrite) as files:
        save_image(labelled_grid(images, ids, names, args.columns), files.draft, facts | layout)
    return files.path
