"""``d3pm-image inpaint | outpaint | edit | vary MODEL IMAGE …``: repaint a part of an image, continue it, or vary it.

Nothing here imports torch, not even for types: ``--help`` reads this module. And types are spelled out: a name that is imported
here, such as that of windows, would not be found by the parsers of the commands, which then check nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
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
        from ..editing.outpaint import MOST

        for name in ("left", "right", "top", "bottom"):
            need(0 <= getattr(self, name) <= MOST, name, getattr(self, name), f"give 0 to {MOST} pixels")
        need(
            self.left + self.right + self.top + self.bottom > 0,
            "left, right, top, bottom",
            0,
            "give pixels to add: --left, --right, --top or --bottom",
        )


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


@dataclass(frozen=True)
class Opened:
    """An edit whose files are read and whose outputs are known to be possible.

    Args:
        command: Its name.
        args: Its options.
        picture: What is edited.
        out: Result, or the sheet of several.
        watch: Recorder of the decode, or None.
    """

    command: str
    args: EditOptions
    picture: PictureFile
    out: Path
    watch: Any

    def region(self, needed: bool = True) -> np.ndarray | None:
        """The pixels to repaint. Raises ConfigError for none where they are needed, or what cannot be read."""
        from ..editing.inputs import read_region

        hidden = read_region(
            self.picture.image, *(getattr(self.args, name) for name in ("mask", "box", "polygon"))
        )
        need(
            hidden is not None or not needed,
            "mask",
            "",
            "give a mask picture, --box, --polygon, or the word alpha",
        )
        return hidden

    def pipeline(self) -> Pipeline:
        """The model. Raises ConfigError where it is not there or damaged."""
        from ..editing.results import coloured

        pipe = self.args.pipeline(self.args.model)
        if pipe.tokenizer.channels == 1 and coloured(self.picture.image):
            say(
                self.command,
                ["the model knows grey pictures only: what it paints into this one has no colour"],
            )
        return pipe

    def drawing(self) -> dict[str, Any]:
        """Arguments that every editing function of a pipeline takes."""
        args = self.args
        where = {
            name: getattr(args, name)
            for name in ("variants", "first", "ring", "feather", "window", "seed", "batch_size")
        }
        return {**where, "watch": self.watch, **args.changes()}

    def finish(
        self,
        pipe: Pipeline,
        results: Sequence[Image.Image],
        hidden: np.ndarray | None,
        before: Image.Image | None = None,
    ) -> None:
        """Write results and say where they are.

        Args:
            hidden: (h, w) bool of the results' size, what was repainted; None for all of the picture.
            before: What a sheet shows as the original; default the picture.
        """
        from ..editing.results import write_results

        facts, several = self.facts(pipe, hidden), len(results) > 1
        facts |= {"variants": len(results)} if several else {}
        sheet = (before or self.picture.image, hidden)
        paths, note = write_results(
            results, self.out, self.picture, facts, sheet, self.args.first, self.args.overwrite
        )
        say(self.command, [note] if note else [])
        share = "" if hidden is None else f" {hidden.mean():.0%} of the picture,"
        also = f" and {printable(paths[1].name)} …" if several else ""
        print(
            f"{self.command}:{share} {len(results)} result{'s' if several else ''}: {printable(paths[0])}{also}"
        )
        title = f"{self.command} · result 1 · {facts['sampler']} · seed {self.args.seed}"
        self.args.show(self.watch, pipe, title, facts)

    def facts(self, pipe: Pipeline, hidden: np.ndarray | None) -> dict[str, Any]:
        """What a PNG carries as text; a mask that came from a picture as it is."""
        from ..provenance import edit_record, made_by

        left_out = {"image", "mask", "out", "variants"} | {f.name for f in dataclasses.fields(WatchedOptions)}
        own = [f.name for f in dataclasses.fields(self.args) if f.name not in left_out]
        options = {name: getattr(self.args, name) for name in (*own, "seed", "precision", "batch_size")}
        made, mask = (
            made_by(self.args.model, pipe.tokenizer, pipe.denoiser),
            hidden if getattr(self.args, "mask", "") else None,
        )
        return edit_record(
            self.command, options, pipe.settings(**self.args.changes()), made, self.picture.path, mask
        )


def run_inpaint(args: Inpaint, job: Opened) -> None:
    """Repaint and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden, pipe = job.region(), job.pipeline()
    (label,) = read_classes(args.labels, pipe.class_names)
    job.finish(pipe, pipe.inpaint(job.picture.image, hidden, label, **job.drawing()), hidden)


def run_outpaint(args: Outpaint, job: Opened) -> None:
    """Continue and write. Raises ConfigError for wrong input; nothing is written then."""
    from ..editing.outpaint import check_sides, extend

    image, sides = (
        job.picture.image,
        {name: getattr(args, name) for name in ("left", "top", "right", "bottom")},
    )
    check_sides(image.size, sides)
    canvas, hidden = extend(image, **sides)
    pipe = job.pipeline()
    (label,) = read_classes(args.labels, pipe.class_names)
    job.finish(pipe, pipe.outpaint(image, **sides, labels=label, **job.drawing()), hidden, canvas)


def run_edit(args: Edit, job: Opened) -> None:
    """Repaint and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden = job.region()
    need(bool(args.label.strip()), "label", args.label, "is needed: one class, by name or number")
    pipe = job.pipeline()
    (label,) = read_classes(args.label, pipe.class_names, "label")
    need(label is not None, "label", args.label, "name the class that the region shall show")
    job.finish(
        pipe, pipe.edit(job.picture.image, hidden, label, strength=args.strength, **job.drawing()), hidden
    )


def run_vary(args: Vary, job: Opened) -> None:
    """Vary and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden, pipe = job.region(needed=False), job.pipeline()
    (label,) = read_classes(args.labels, pipe.class_names)
    job.finish(pipe, pipe.vary(job.picture.image, args.strength, label, mask=hidden, **job.drawing()), hidden)


EDITS: dict[str, tuple[type[EditOptions], Callable[[Any, Opened], None], str]] = {
    "inpaint": (Inpaint, run_inpaint, "inpainted"),
    "outpaint": (Outpaint, run_outpaint, "outpainted"),
    "edit": (Edit, run_edit, "edited"),
    "vary": (Vary, run_vary, "varied"),
}
"""Options, work, and ending of the default result's name of each command."""


def run(command: str, args: EditOptions) -> None:
    """Read the picture, check what can be checked before a model is loaded, then work.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..editing.image_files.files import check_outputs, read_picture, result_path
    from ..editing.results import result_files

    _, work, word = EDITS[command]
    picture = read_picture(args.image)
    out = Path(args.out) if args.out else result_path(picture, word)
    outputs = [out, *result_files(out, args.variants)]
    check_outputs(outputs, args.inputs())
    watch = args.recorder(outputs, args.inputs())
    say(command, picture.notes)
    work(args, Opened(command, args, picture, out, watch))


def main(command: str, arguments: list[str]) -> None:
    """Read the options of one of the commands and run it. Raises ConfigError for wrong input."""
    kind = EDITS[command][0]
    names = [name for name in TEXTS if name in kind.__dataclass_fields__]
    run(command, parse(command, kind, arguments, {name: TEXTS[name] for name in names}, optional=("mask",)))


inpaint, outpaint = partial(main, "inpaint"), partial(main, "outpaint")
edit, vary = partial(main, "edit"), partial(main, "vary")
