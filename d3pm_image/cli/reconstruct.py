"""``d3pm-image reconstruct MODEL [IMAGES]``: pictures, or images of a data set, above their reconstructions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..config import DataConfig, need
from ..outputs import new_files
from ..printable import printable
from .generate import check_ending
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
    import torch

    from ..data.levels import remembered_white
    from ..editing.canvas import convert_for
    from ..imaging import enlarge, grid_image, save_image, to_pil, to_tensor, with_white
    from ..tokenizer import load_tokenizer

    check_ending(Path(args.out))
    device = pick_device(args.device)
    pictures = read_pictures(args) if args.images else []
    tokenizer, info = load_tokenizer(args.model)
    tokenizer.to(device)
    if args.images:
        pictures = [with_white(p, remembered_white(info.facts)) for p in pictures]
        batch = torch.stack([to_tensor(convert_for(p, info.channels, info.image_size)) for p in pictures])
    else:
        batch = read_set(args, info)
    batch = batch.to(device)
    outputs = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in batch.split(64)])
    columns = min(8, len(batch))
    rows = []
    for start in range(0, len(batch), columns):
        rows += to_pil(batch[start : start + columns]) + to_pil(outputs[start : start + columns])
    mse = float((outputs - batch).square().mean())
    with new_files(Path(args.out), args.overwrite) as files:
        save_image(grid_image([enlarge(p) for p in rows], columns), files.draft)
    print(f"mean squared error {mse:.5f}: {printable(files.path, 0)}")


def spread(count: int, limit: int) -> list[int]:
    """At most ``limit`` of the numbers 0..count-1, spread evenly."""
    import numpy as np

    return np.linspace(0, count - 1, min(limit, count)).round().astype(int).tolist()


def read_pictures(args: Reconstruct) -> list:
    """Pillow images of the named files or of the folder. Raises ConfigError for what cannot be read."""
    from ..data.sources import folder
    from ..editing.image_files.files import read_picture

    if Path(args.images).is_dir():
        source = folder(args.images, use_labels=False)
        return [source.load(i) for i in spread(len(source), args.limit)]
    files = [read_picture(name.strip(), "images") for name in args.images.split(",")]
    mend = "would overwrite a picture that is read; choose another name"
    need(all(Path(args.out).resolve() != f.path.resolve() for f in files), "out", args.out, mend)
    say("reconstruct", [note for file in files for note in file.notes])
    return [file.image for file in files]


def read_set(args: Reconstruct, info):
    """Images (b, C, h, w) in [0, 1] of a data set, as the tokenizer was trained to see them.

    Raises:
        ConfigError: no such set, it is not there, or the model does not remember its data and none was named.
    """
    import numpy as np

    from ..data.images import ImageSet
    from ..data.sources import open_source
    from ..evaluation.samples import remembered_data

    if args.data.source:
        data = DataConfig(source=args.data.source, root=args.data.root)
    else:
        need("data" in info.facts, "model", args.model, "does not remember the data it was trained on; name pictures, or --data.source")
        data = remembered_data(info.facts, args.model, args.data.root, option="data.root")
    data = dataclasses.replace(data, image_size=info.image_size, channels=info.channels)
    source = open_source(data, held_out=args.data.part == "held_out")
    chosen = np.array(spread(len(source), args.limit))
    return ImageSet(source.subset(chosen), data).read(list(range(len(chosen))))
