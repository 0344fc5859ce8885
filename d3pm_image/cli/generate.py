"""``d3pm-image generate MODEL``: new images as one labelled grid or one file per image."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import check
from ..config.ranges import check_first
from ..config.worded import worded
from ..labels import parse_labels
from ..parser import parse
from ..printable import printable
from ..storage import sha256
from .options import WatchedOptions, left_to_the_first, say


@dataclass(frozen=True, kw_only=True)
class Generate(WatchedOptions):
    """Make new images with a trained model.

    Args:
        model: Model folder, or the run that trained it.
        num_images: How many.
        first: Number of the first image, so that a long request can be made in parts.
        labels: Classes, which take turns: names, numbers or a range (0..9), separated by commas; none for no
            class. Names take precedence over numbers; put names with a comma, or that look like something
            else, in double quotes ('"a,b",c'); with several sets of labels group=flags,style=noto. Default:
            all classes take turns.
        out: An image (grid.png) for one grid; a folder for one file per image, named after its number, seed
            and class; or FILE.npz for all in one array, as programs that compute scores read it. Processes
            that torchrun starts share the work of the last two.
        resume: Continue an interrupted request: images that are in the folder, or were drawn for FILE.npz,
            are skipped.
        columns: Images per row of the grid; 0 chooses.
        captions: Write the class under each image of the grid.
        palette: File with as many colours as the model's palette has, which they replace one by one: an
            image of indexed colours, .gpl, .hex, .pal or .act. For palette models.

    Example:
        d3pm-image generate fashion-mnist --num-images 64 --labels Dress,Coat --out grid.png
    """

    model: str
    num_images: int = 16
    first: int = 0
    labels: str = ""
    out: str = "grid.png"
    resume: bool = False
    columns: int = worded(0, "chosen")
    captions: bool = True
    palette: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(1 <= self.num_images <= 1_000_000, "num_images", self.num_images, "ask for 1 to 1000000 images")
        check_first(self.first)
        several = not self.one_image
        hint = "is for a folder or FILE.npz only; leave it out"
        check(several or not self.resume, "resume", True, hint)
        hint = "cannot be combined with overwrite; leave one of them out"
        array = self.place.suffix.lower() == ".npz"
        check(array or not (self.resume and self.overwrite), "resume", True, hint)
        check(self.place.name.lower() != ".npz", "out", self.out, "give a name before the ending")
        hint = "cannot be combined with resume; leave one of them out"
        check(not (self.resume and self.trajectory), "trajectory", self.trajectory, hint)
        check(0 <= self.columns <= 1000, "columns", self.columns, "give 0 (choose) to 1000 images per row")

    @property
    def place(self) -> Path:
        """Where files go."""
        return Path(self.out).expanduser()

    @property
    def one_image(self) -> bool:
        """Whether all images form one grid."""
        return self.place.suffix.lower() not in ("", ".npz")


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
    from ..provenance.writing import listed, write_grid
    from ..recipes.drawn_files import Request, draw_files
    from ..training.launch import place_among_processes

    out, (rank, processes) = args.place, place_among_processes()
    if args.one_image and left_to_the_first("generate"):
        return
    if args.one_image:
        check_ending(out)
    else:
        folder_to_write(out if not out.suffix else out.parent)
    recorder = args.recorder([out]) if rank == 0 else None
    pipe = load_pipeline(args, args.model)
    labels, metadata = parse_labels(args.labels), described(args, pipe)
    if args.palette:
        pipe.recolour(args.palette)  # once the model is described as it was trained
    ids = pipe.label_ids(labels, args.num_images, args.first)
    how: dict[str, Any] = {"seed": args.seed, "batch_size": args.batch_size, **args.changes()}
    began = time.perf_counter()

    def draw(first: int, count: int) -> Sequence[Any]:
        return pipe.generate(count, labels, first=first, callback=recorder, **how)

    request = Request(
        out, ids, pipe.class_names, metadata, args.first, args.batch_size, args.overwrite, args.resume
    )
    if args.one_image:
        images = [image for part in request.batches() for image in draw(part.start, len(part))]
        names = ("num_images", "first", "columns", "captions", "batch_size")
        shown = metadata | {name: getattr(args, name) for name in names}
        captions = pipe.class_names if args.captions else ()
        where = printable(write_grid(out, images, ids, captions, args.columns, shown, args.overwrite), 0)
    else:
        if rank == 0 and not (args.overwrite or args.resume or out.suffix):
            say_what_is_there(out)
        where = listed(out, draw_files(request, draw))
    if rank:
        return
    plural, on = "s" * (args.num_images > 1), f" on {processes} processes" * (processes > 1)
    print(f"{args.num_images} image{plural} in {time.perf_counter() - began:.1f} s{on}: {where}")
    label = [*pipe.class_names, "no class"][ids[0]]
    title = f"image {args.first} · {label} · {metadata['sampler']} · seed {args.seed}"
    args.show(recorder, pipe, title, metadata)


def described(args: Generate, pipe: Any) -> dict[str, Any]:
    """The metadata of the images: how they are made."""
    from ..provenance import made_by

    made: dict[str, Any] = {"command": "generate", **made_by(args.model, pipe.tokenizer, pipe.denoiser)}
    made |= {"seed": args.seed, "labels": args.labels, "precision": pipe.precision}
    made |= {"recoloured": sha256(Path(args.palette).expanduser())} if args.palette else {}
    return made | pipe.request(**args.changes()).values()


def say_what_is_there(out: Path) -> None:
    """Print a note if the folder has files already."""
    there = sum(1 for _ in out.iterdir()) if out.is_dir() else 0
    if there:
        files = f"{there} other file{'s' * (there > 1)}"
        say("generate", [f"{out} holds {files} already; the new ones are added"])
