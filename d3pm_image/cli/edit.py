"""``d3pm-image inpaint | outpaint | edit | vary MODEL IMAGE …``: repaint a part of an image, continue it, or vary it.

Nothing here imports torch, not even for types: ``--help`` reads this module. And types are spelled out: a name that is imported
here, such as that of windows, would not be found by the parsers of the commands, which then check nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..config import need
from ..labels import read_classes
from ..printable import printable
from .options import WatchedOptions, say
from .parsing import parse

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..editing.image_files.files import PictureFile
    from ..pipeline import Pipeline

TEXTS = {
    "model": "Model folder, or the run that trained it.",
    "image": "Picture of any size and mode.",
    "mask": "Picture of the same size: white is repainted; or the word alpha: where the picture itself is transparent.",
}
HOW = ("variants", "first", "ring", "feather", "window", "seed", "batch_size")
"""Options that the pipeline's functions take under the same names."""


def check_strength(strength: float) -> None:
    """Raises ConfigError for what is no noise level."""
    need(0 <= strength <= 1, "strength", strength, "give a noise level in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class EditOptions(WatchedOptions):
    """What all editing of one picture has in common.

    Args:
        model: Model folder, or the run that trained it.
        image: Picture of any size and mode.
        variants: Results. More than one are shown on one sheet (original, masked, results) and each written to a file of its own.
        first: Number of the first result; each number has its own randomness under the seed.
        ring: Code cells around the repaint that are drawn anew as well; null takes the default.
        feather: Pixels around the mask over which the result fades into the picture, and which change so; 0 is a hard seam.
        window: What of a large picture is worked on: whole at the model's size, the mask's neighbourhood reduced to that size (crop) or at its own scale (tiles); auto is whole for pictures of the model's size or smaller, else crop (tiles for outpaint).
        out: Result picture, or the sheet of several variants (each of which is NAME-1, NAME-2 … beside it); its ending sets the format. Default: NAME-COMMAND beside the picture, with its ending. JPEG and AVIF cannot keep known pixels exactly; PNG and TIFF can.
    """

    model: str
    image: str
    variants: int = 1
    first: int = 0
    ring: int | None = None
    feather: int = 0
    window: Literal["auto", "whole", "crop", "tiles"] = "auto"
    out: str = ""

    def __post_init__(self):
        super().__post_init__()
        need(1 <= self.variants <= 1000, "variants", self.variants, "ask for 1 to 1000 variants")
        need(0 <= self.first <= 1_000_000_000, "first", self.first, "give 0 or more")
        need(
            self.ring is None or self.ring >= 0,
            "ring",
            self.ring,
            "give 0 or more code cells, or null for the default",
        )
        need(self.feather >= 0, "feather", self.feather, "give 0 or more pixels")

    def inputs(self) -> list[Path]:
        """Files that are read."""
        return [Path(self.image)]

    def prepared(self, image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
        """The image that is repainted, and which of its pixels, (h, w) bool; None for all.

        Raises:
            ConfigError: a region that cannot be read, or none where one is needed.
        """
        raise NotImplementedError

    def painted(self) -> dict[str, Any]:
        """Arguments of the pipeline's function beside the image, its region, the class and what all edits have."""
        return {name: getattr(self, name) for name in ("strength",) if hasattr(self, name)}


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What to paint.

    Args:
        labels: Class, by name or number; none for no class, which is the default.
    """

    labels: str = ""


@dataclass(frozen=True, kw_only=True)
class RegionOptions(EditOptions):
    """Editing of a part of a picture.

    Args:
        mask: Picture of the same size: white is repainted; or the word alpha: where the picture itself is transparent.
        box: Rectangle to repaint as x,y,width,height in pixels, from the top left; the union of mask, box and polygon is repainted, and what of them lies outside the picture left out.
        polygon: Area to repaint by its corners, as "x1,y1 x2,y2 x3,y3 …" in pixels.
    """

    mask: str = ""
    box: str = ""
    polygon: str = ""

    def inputs(self) -> list[Path]:
        """Files that are read."""
        return super().inputs() + ([Path(self.mask)] if self.mask and self.mask != "alpha" else [])

    def prepared(self, image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
        """The image itself, and what mask, box and polygon mark of it."""
        from ..editing.inputs import read_region

        return image, read_region(image, self.mask, self.box, self.polygon, needed=not isinstance(self, Vary))


@dataclass(frozen=True, kw_only=True)
class Inpaint(LabelOptions, RegionOptions):
    """Repaint a part of a picture: the white of a mask, a box, a polygon, or what is transparent. Every pixel outside it stays exactly as it is."""


@dataclass(frozen=True, kw_only=True)
class Outpaint(LabelOptions, EditOptions):
    """Continue a picture beyond its borders. Every pixel of the picture stays exactly as it is.

    Args:
        left, right, top, bottom: Pixels to add on each side.
    """

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def __post_init__(self):
        super().__post_init__()
        some, mend = any(self.painted().values()), "give pixels to add: --left, --right, --top or --bottom"
        need(some, "left, right, top, bottom", 0, mend)

    def prepared(self, image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
        """The larger image, and what is new of it."""
        from ..editing.outpaint import check_sides, extend

        check_sides(image.size, self.painted())
        return extend(image, **self.painted())

    def painted(self) -> dict[str, Any]:
        """Pixels to add on each side."""
        return {name: getattr(self, name) for name in ("left", "top", "right", "bottom")}


@dataclass(frozen=True, kw_only=True)
class Edit(RegionOptions):
    """Repaint a part of a picture as a class of your choice. Every pixel outside it stays exactly as it is.

    Args:
        label: The class (name or number) that the region shall show.
        strength: 1 hides what is there; less starts from it at that noise level, so that its layout shows through.
    """

    label: str = ""
    strength: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_strength(self.strength)

    def prepared(self, image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
        """As for all regions; Raises ConfigError where no class is given."""
        found = super().prepared(image)
        need(bool(self.label.strip()), "label", self.label, "is needed: one class, by name or number")
        return found


@dataclass(frozen=True, kw_only=True)
class Vary(LabelOptions, RegionOptions):
    """Variations of a picture, or of the part that a mask, box or polygon marks: its codes are corrupted to a noise level and denoised from there.

    Args:
        strength: Noise level: 0 is what the tokenizer keeps of the picture, 1 a new picture.
        variants: Results. More than one are shown on one sheet and each written to a file of its own.
    """

    strength: float = 0.5
    variants: int = 6

    def __post_init__(self):
        super().__post_init__()
        check_strength(self.strength)


EDITS: dict[str, tuple[type[EditOptions], str]] = {
    "inpaint": (Inpaint, "inpainted"),
    "outpaint": (Outpaint, "outpainted"),
    "edit": (Edit, "edited"),
    "vary": (Vary, "varied"),
}
"""Options of each command, and the ending of the default result's name."""


def run(command: str, args: EditOptions) -> None:
    """Read, check all that can be checked before a model is loaded, repaint, write and say where.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..editing.image_files.files import check_outputs, read_picture, result_path
    from ..editing.results import coloured, result_files

    picture = read_picture(args.image)
    out = Path(args.out) if args.out else result_path(picture, EDITS[command][1])
    outputs = [out, *result_files(out, args.variants)]
    check_outputs(outputs, args.inputs())
    watch = args.recorder(outputs, args.inputs())
    say(command, picture.notes)
    before, hidden = args.prepared(picture.image)
    pipe = args.pipeline(args.model)
    if pipe.tokenizer.channels == 1 and coloured(picture.image):
        say(command, ["the model knows grey pictures only: what it paints into this one has no colour"])
    how: dict[str, Any] = {name: getattr(args, name) for name in HOW} | {"watch": watch, **args.painted(), **args.changes()}
    label = label_of(args, pipe.class_names)
    if command == "outpaint":
        results = pipe.outpaint(picture.image, labels=label, **how)
    else:
        results = pipe.inpaint(picture.image, hidden, label, **how)
    finish(command, args, picture, pipe, results, (before, hidden), out, watch)


def label_of(args: EditOptions, class_names: Sequence[str]) -> int | None:
    """The class to paint; None for none. Raises ConfigError for an unknown one, more than one, or none where one is needed."""
    field = "label" if isinstance(args, Edit) else "labels"
    (label,) = read_classes(getattr(args, field), class_names, field)
    need(label is not None or not isinstance(args, Edit), field, getattr(args, field), "name the class that the region shall show")
    return label


def finish(
    command: str,
    args: EditOptions,
    picture: PictureFile,
    pipe: Pipeline,
    results: Sequence[Image.Image],
    shown: tuple[Image.Image, np.ndarray | None],
    out: Path,
    watch: Any,
) -> None:
    """Write results and say where they are.

    Args:
        shown: What a sheet shows as the original, and what of it was repainted, (h, w) bool.
    """
    from ..editing.results import write_results
    from ..provenance import edit_record, made_by

    hidden, several, settings = shown[1], len(results) > 1, pipe.settings(**args.changes())
    left_out = {"image", "mask", "out", "variants"} | {f.name for f in dataclasses.fields(WatchedOptions)}
    own = [f.name for f in dataclasses.fields(args) if f.name not in left_out]
    options = {name: getattr(args, name) for name in (*own, "seed", "precision", "batch_size")}
    made, mask = made_by(args.model, pipe.tokenizer, pipe.denoiser), hidden if getattr(args, "mask", "") else None
    facts = edit_record(command, options, settings, made, picture.path, mask) | ({"variants": len(results)} if several else {})
    paths, note = write_results(results, out, picture, facts, shown, args.first, args.overwrite)
    say(command, [note] if note else [])
    share = "" if hidden is None else f" {hidden.mean():.0%} of the picture,"
    also = f" and {printable(paths[1].name)} …" if several else ""
    print(f"{command}:{share} {len(results)} result{'s' if several else ''}: {printable(paths[0])}{also}")
    args.show(watch, pipe, f"{command} · result 1 · {facts['sampler']} · seed {args.seed}", facts)


def main(command: str, arguments: list[str]) -> None:
    """Read the options of one of the commands and run it. Raises ConfigError for wrong input."""
    kind = EDITS[command][0]
    names = [name for name in TEXTS if name in kind.__dataclass_fields__]
    run(command, parse(command, kind, arguments, {name: TEXTS[name] for name in names}, optional=("mask",)))


inpaint, outpaint = partial(main, "inpaint"), partial(main, "outpaint")
edit, vary = partial(main, "edit"), partial(main, "vary")
