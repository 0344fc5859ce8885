"""``d3pm-image generate MODEL``: new images as one labelled grid or one file an image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError, need
from .options import WatchedOptions
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Generate(WatchedOptions):
    """Make new images with a trained model.

    Args:
        model: Model folder, or the run that trained it.
        num_images: How many.
        first: Number of the first one, so that a long request can be made in parts.
        labels: Classes to make, repeated in turn: numbers, names or a range (0..9), separated by commas; none for no class. Default: every class in turn.
        out: A picture (grid.png) for one grid, or a folder for one file an image.
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
        need(self.columns >= 0, "columns", self.columns, "give 0 (choose) or a number of images")


def parse_labels(text: str) -> list[int | str | None] | None:
    """Labels from the command line: ``0..9``, ``3,5``, ``Dress,Coat``, ``none``; empty means every class in turn.

    Raises:
        ConfigError: a range that runs backwards.
    """
    if not text.strip():
        return None
    labels: list[int | str | None] = []
    for part in (p.strip() for p in text.split(",")):
        first, dots, last = part.partition("..")
        if dots and first.isdigit() and last.isdigit():
            need(int(first) <= int(last), "labels", part, "a range runs from the smaller to the larger number, such as 0..9")
            labels += range(int(first), int(last) + 1)
        else:
            labels.append(None if part == "none" else int(part) if part.lstrip("-").isdigit() else part)
    return labels


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image generate`` and run it. Raises ConfigError for wrong input."""
    run(parse("generate", Generate, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Generate) -> None:
    """Generate and write.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..imaging import save_image
    from ..provenance import made_by

    out, one_picture = Path(args.out), bool(Path(args.out).suffix)
    if one_picture:
        check_ending(out)
    watch = args.recorder([out])
    pipe = args.pipeline(args.model)
    labels = parse_labels(args.labels)
    ids = pipe.label_ids(labels, args.first + args.num_images)[args.first :]
    settings = pipe.settings(**args.changes())
    names = [*pipe.class_names, "no class"]
    facts: dict[str, Any] = {"command": "generate", **made_by(args.model, pipe.tokenizer, pipe.denoiser)}
    facts |= {"seed": args.seed, "labels": args.labels, "precision": args.precision, **asdict(settings)}
    began, images = time.perf_counter(), []
    end = args.first + args.num_images
    digits = max(4, len(str(end - 1)))
    for first in range(args.first, end, args.batch_size):  # files are written as they come: nothing waits for the last
        count = min(args.batch_size, end - first)
        made = pipe.generate(count, labels, seed=args.seed, batch_size=args.batch_size, first=first, watch=watch, **args.changes())
        if one_picture:
            images += made
            continue
        for number, image in enumerate(made, first):
            save_image(image, out / f"{number:0{digits}d}.png", {**facts, "number": number, "label": names[ids[number - args.first]]})
    if one_picture:
        layout = {name: getattr(args, name) for name in ("num_images", "first", "columns", "captions")}
        save_image(labelled_grid(images, ids, args, pipe.class_names), out, facts | layout)
    print(f"{args.num_images} image{'s' if args.num_images > 1 else ''} in {time.perf_counter() - began:.1f} s: {out}")
    args.show(watch, pipe, f"image {args.first} · {names[ids[0]]} · {settings.sampler} · seed {args.seed}", facts)


def labelled_grid(images: list, ids: list[int], args: Generate, class_names: Sequence[str]):
    """One picture of all, with classes under them if there are any; a cycle of 5 to 12 classes that comes out even is a row."""
    from ..imaging import enlarge, grid_image

    captions = [[*class_names, "no class"][i] for i in ids] if args.captions and class_names else None
    cycle = len(set(ids))
    columns = args.columns or (cycle if 5 <= cycle <= 12 and len(images) % cycle == 0 else 0)
    return grid_image([enlarge(i) for i in images], columns, captions)


def check_ending(out: Path) -> None:
    """Raises ConfigError before any work for an ending that cannot be written."""
    from PIL import Image

    Image.init()
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:
        raise ConfigError("out", str(out), "use an ending such as .png, .jpg or .webp, or a folder name without one")
