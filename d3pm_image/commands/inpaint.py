"""``d3pm-image inpaint MODEL IMAGE MASK``: repaint the white part of the mask."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import need
from .generate import check_ending, parse_labels
from .options import WatchedOptions, pick_device
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Inpaint(WatchedOptions):
    """Repaint the masked part of a picture; every pixel outside the mask stays exactly as it is.

    Args:
        model: Model folder, or the run that trained it.
        image: Picture of any size.
        mask: Picture of the same size; white is repainted.
        labels: Class of what to paint (number or name); none for no class.
        variants: Results. More than one are shown in one grid (original, masked, results) and also written one by one.
        ring: Code cells around the mask that are drawn anew as well.
        out: Result picture, or the grid of several variants. PNG, WebP, BMP and TIFF keep known pixels exactly; JPEG cannot.
    """

    model: str
    image: str
    mask: str
    labels: str = "none"
    variants: int = 1
    ring: int = 0
    out: str = "result.png"

    def __post_init__(self):
        super().__post_init__()
        need(1 <= self.variants <= 1000, "variants", self.variants, "ask for 1 to 1000 variants")
        need(self.ring >= 0, "ring", self.ring, "give 0 or more code cells")


def main(arguments: list[str]) -> None:
    texts = {
        "model": "Model folder, or the run that trained it.",
        "image": "Picture of any size.",
        "mask": "Picture of the same size; white is repainted.",
    }
    run(parse("inpaint", Inpaint, arguments, texts))


def run(args: Inpaint) -> None:
    """Repaint and write.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..editing.masks import as_mask
    from ..imaging import read_image, save_image
    from ..pipeline import Pipeline

    out = Path(args.out)
    check_ending(out)
    watch = args.recorder(out)
    image, mask = read_image(args.image, "image"), read_image(args.mask, "mask")
    hidden = as_mask(mask, image)
    pipe = Pipeline.from_pretrained(args.model, pick_device(args.device), args.precision)
    labels, given = parse_labels(args.labels), args.changes()
    results = pipe.inpaint(
        image, hidden, labels, args.variants, args.ring, seed=args.seed, batch_size=args.batch_size, watch=watch, **given
    )
    facts = {name: getattr(args, name) for name in ("model", "seed", "labels", "ring", "precision")}
    facts = {"command": "inpaint", **facts, **asdict(pipe.settings(**given))}
    if args.variants == 1:
        save_image(results[0], out, facts)
        print(f"repainted {hidden.mean():.0%} of the picture: {out}")
    else:
        save_variants(image, blanked(image, hidden), results, out, facts)
        print(f"repainted {hidden.mean():.0%} of the picture, {args.variants} variants: {out} and {out.stem}-1{out.suffix} …")
    args.show(watch, pipe, f"inpainting · result 1 · {facts['sampler']} · seed {args.seed}", facts)


def save_variants(image, masked, results: list, out: Path, facts: dict) -> None:
    """One grid of the original, the masked picture and all results, and each result in a file of its own."""
    from ..imaging import enlarge, grid_image, save_image

    shown = [image, masked, *results]
    captions = ["original", "masked", *(f"result {i + 1}" for i in range(len(results)))]
    save_image(grid_image([enlarge(i.convert("RGB"), 96) for i in shown], min(len(shown), 8), captions), out, facts)
    for number, result in enumerate(results, 1):
        save_image(result, out.with_name(f"{out.stem}-{number}{out.suffix}"), {**facts, "variant": number - 1})


def blanked(image, hidden):
    """The picture with hidden pixels in grey, RGB."""
    import numpy as np
    from PIL import Image

    pixels = np.array(image.convert("RGB"))
    pixels[hidden] = (pixels[hidden] * 0 + 128).astype(np.uint8)
    return Image.fromarray(pixels)
