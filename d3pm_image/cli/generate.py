"""``d3pm-image generate MODEL``: new images as one labelled grid or one file an image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError, need
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
        labels: Classes to make, repeated in turn: names, numbers or a range (0..9), separated by commas; none for no class. A name comes before a number; one with a comma, or that reads as something else, stands in double quotes ('"a,b",c'). Default: every class in turn.
        out: A picture (grid.png) for one grid, or a folder for one file an image, named after its number, the seed and the class.
        columns: Images a row of the grid; 0 chooses.
        captions: Write the class under each image of the grid.
    """

    model: str
    num_images: int = 16
    first: int = 0
    labels: str = ""
    out: str = "grid.png"
    columns: int = 0
    captions: bool = True

    def __post_init__(self):
        super().__post_init__()
        need(1 <= self.num_images <= 1_000_000, "num_images", self.num_images, "ask for 1 to 1000000 images")
        need(0 <= self.first <= 1_000_000_000, "first", self.first, "give 0 or more")
        need(0 <= self.columns <= 1000, "columns", self.columns, "give 0 (choose) to 1000 images a row")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image generate`` and run it. Raises ConfigError for wrong input."""
    run(parse("generate", Generate, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Generate) -> None:
    """Generate and write.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..imaging import save_image
    from ..outputs import new_files
    from ..provenance import made_by

    out, one_picture = Path(args.out), bool(Path(args.out).suffix)
    if one_picture:
        check_ending(out)
    watch = args.recorder([out])
    pipe = args.pipeline(args.model)
    labels = parse_labels(args.labels)
    ids = pipe.label_ids(labels, args.num_images, args.first)
    settings = pipe.settings(**args.changes())
    facts: dict[str, Any] = {"command": "generate", **made_by(args.model, pipe.tokenizer, pipe.denoiser)}
    facts |= {"seed": args.seed, "labels": args.labels, "precision": args.precision, **asdict(settings)}
    began, images, written = time.perf_counter(), [], []
    end = args.first + args.num_images
    for first in range(args.first, end, args.batch_size):  # files are written as they come: nothing waits for the last
        count = min(args.batch_size, end - first)
        made = pipe.generate(count, labels, seed=args.seed, batch_size=args.batch_size, first=first, watch=watch, **args.changes())
        if one_picture:
            images += made
        else:
            written += write_images(args, out, made, first, ids[first - args.first :], pipe.class_names, facts)
    if one_picture:
        layout = {name: getattr(args, name) for name in ("num_images", "first", "columns", "captions", "batch_size")}
        with new_files(out, args.overwrite) as files:
            save_image(labelled_grid(images, ids, args, pipe.class_names), files.draft, facts | layout)
    where = printable(files.path, 0) if one_picture else listed(out, written)
    print(f"{args.num_images} image{'s' if args.num_images > 1 else ''} in {time.perf_counter() - began:.1f} s: {where}")
    label = [*pipe.class_names, "no class"][ids[0]]
    args.show(watch, pipe, f"image {args.first} · {label} · {settings.sampler} · seed {args.seed}", facts)


def write_images(
    args: Generate, folder: Path, images: list, first: int, ids: Sequence[int], class_names: Sequence[str], facts: dict
) -> list[Path]:
    """One file an image, named after its number, the seed and the class; returns the files.

    Args:
        images: One batch.
        first: Number of its first image.
        ids: Their classes.
    """
    from ..imaging import save_image
    from ..outputs import name_part, new_files

    if first == args.first and not args.overwrite and folder.is_dir() and (there := sum(1 for _ in folder.iterdir())):
        say("generate", [f"{folder} holds {there} other file{'s' if there > 1 else ''} already; the new ones are added"])
    digits, written = max(4, len(str(args.first + args.num_images - 1))), []
    together = {"batch_first": first, "batch_size": len(images)}
    for number, image, label in zip(range(first, first + len(images)), images, ids, strict=False):
        name = [*class_names, "no class"][label]
        ending = f"-{name_part(name)}" if class_names else ""
        path = folder / f"{number:0{digits}d}-seed{args.seed}{ending}.png"
        with new_files(path, args.overwrite) as files:
            save_image(image, files.draft, {**facts, "number": number, "label": name, **together})
        written.append(files.path)
    return written


def listed(folder: Path, files: Sequence[Path]) -> str:
    """Files of a folder in a few words."""
    names = printable(files[0].name, 0) + (f" … {printable(files[-1].name, 0)}" if len(files) > 1 else "")
    return f"{printable(folder, 0)} ({names})"


def labelled_grid(images: list, ids: list[int], args: Generate, class_names: Sequence[str]):
    """One picture of all, with classes under them if there are any; a cycle of 5 to 12 classes that comes out even is a row."""
    from ..imaging import enlarge, grid_image

    captions = [printable([*class_names, "no class"][i]) for i in ids] if args.captions and class_names else None
    cycle = len(set(ids))
    columns = args.columns or (cycle if 5 <= cycle <= 12 and len(images) % cycle == 0 else 0)
    return grid_image([enlarge(i) for i in images], columns, captions)


def check_ending(out: Path) -> None:
    """Raises ConfigError before any work for an ending that cannot be written."""
    from PIL import Image

    Image.init()
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ConfigError("out", str(out), "use an ending such as .png, .jpg or .webp, or a folder name without one")
