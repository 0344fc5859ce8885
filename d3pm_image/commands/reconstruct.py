"""``d3pm-image reconstruct MODEL IMAGE …``: pictures above their reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import need
from .generate import check_ending
from .job import say
from .options import pick_device
from .parsing import parse


@dataclass(frozen=True)
class Reconstruct:
    """Show pictures above what the tokenizer keeps of them.

    Args:
        model: Tokenizer folder, model folder, or the run that trained either.
        images: Pictures, separated by commas, or a folder of pictures.
        limit: Pictures of a folder that are shown.
        out: Result picture.
        device: auto, cpu or cuda.
    """

    model: str
    images: str
    limit: int = 8
    out: str = "reconstruction.png"
    device: str = "auto"

    def __post_init__(self):
        need(1 <= self.limit <= 1000, "limit", self.limit, "show 1 to 1000 pictures")


def main(arguments: list[str]) -> None:
    run(
        parse(
            "reconstruct",
            Reconstruct,
            arguments,
            {"model": "Tokenizer or model folder, or a run.", "images": "Pictures separated by commas, or a folder."},
        )
    )


def run(args: Reconstruct) -> None:
    """Raises ConfigError for wrong input; nothing is written then."""
    import torch

    from ..data.sources import folder
    from ..editing.canvas import convert_for
    from ..editing.files import read_picture
    from ..imaging import enlarge, grid_image, save_image, to_pil, to_tensor
    from ..tokenizer import load_tokenizer

    out = Path(args.out)
    check_ending(out)
    device = pick_device(args.device)
    if Path(args.images).is_dir():
        source = folder(args.images, use_labels=False)
        pictures = [source.load(i) for i in range(min(args.limit, len(source)))]
    else:
        files = [read_picture(name.strip(), "images") for name in args.images.split(",")]
        need(
            all(out.resolve() != f.path.resolve() for f in files),
            "out",
            args.out,
            "would overwrite a picture that is read; choose another name",
        )
        say("reconstruct", [note for file in files for note in file.notes])
        pictures = [file.image for file in files]
    tokenizer, info = load_tokenizer(args.model)
    tokenizer.to(device)
    batch = torch.stack([to_tensor(convert_for(p, info.channels, info.image_size)) for p in pictures]).to(device)
    outputs = tokenizer.decode(tokenizer.encode(batch))
    columns = min(8, len(pictures))
    rows = []
    for start in range(0, len(pictures), columns):
        rows += to_pil(batch[start : start + columns]) + to_pil(outputs[start : start + columns])
    mse = float((outputs - batch).square().mean())
    save_image(grid_image([enlarge(p) for p in rows], columns), args.out)
    print(f"mean squared error {mse:.5f}: {args.out}")
