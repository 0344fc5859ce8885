"""Settings of an edit: the image, its region, the class to paint, and how much of the image stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import check
from .ranges import check_first, check_seam, check_strength

Axis = Literal["both", "x", "y"]
"""Along which an image repeats: x is beside itself, y below itself."""
HIDDEN = ("half", "box", "strokes")
"""Regions that evaluations hide and inpaint, see :mod:`~d3pm_image.editing.hidden`."""
GREY_MODEL = "the model knows grey images only: what it paints into this one has no colour"
"""Note for an image with colours that is edited with a grey model."""


def check_added(sides: Mapping[str, int]) -> None:
    """Raises ConfigError if no side of a canvas gets any pixels; pipelines return the image unchanged
    then."""
    hint = "give pixels to add on one side or more, or a format such as 16:9 in to"
    check(any(sides.values()), "left, right, top, bottom", 0, hint)


def read_format(text: str, sides: Mapping[str, int]) -> tuple[int, int]:
    """(width, height) of a format such as ``16:9``, in place of pixels on sides.

    Raises:
        ConfigError: another text, a side of 0 or over 1000 parts, or pixels on sides as well.
    """
    found = re.fullmatch(r"\s*(\d{1,4})\s*:\s*(\d{1,4})\s*", text)
    hint = "give width:height, two numbers from 1 to 1000, such as 16:9 or 1:1"
    width, height = map(int, found.groups()) if found else (0, 0)
    check(1 <= width <= 1000 and 1 <= height <= 1000, "to", text, hint)
    given = {name: value for name, value in sides.items() if value}
    check(not given, "to", text, f"sets the sides; leave out {', '.join(given)}")
    return width, height


@dataclass(frozen=True, kw_only=True)
class EditOptions:
    """Settings that all edits of one image share.

    Args:
        model: Model folder, or the run that trained it.
        image: Image of any size and mode, or a folder of them, each of which gets the files that it gets
            alone. Processes that torchrun starts share the work of a folder.
        variants: Results. More than one are shown on one sheet (original, masked, results) and each written
            to a file of its own.
        first: Number of the first result; each number has its own randomness under the seed. The images of a
            folder are numbered in the order of their names.
        ring: Code cells around the repainted part that are redrawn as well; left out, it takes the default.
        feather: Pixels around the mask over which the result fades into the image; these change as well. 0 is
            a hard seam.
        window: Part of a large image that the model sees: whole, at the model's size; the mask's
            neighbourhood reduced to that size (crop) or at its own scale (tiles); auto is whole for images of
            the model's size or smaller, else crop (tiles for outpaint).
        out: Result image, or the sheet of several variants (each of which is NAME-1, NAME-2 … beside it);
            its ending sets the format. Default: NAME-COMMAND beside the image, with its ending. JPEG and
            AVIF cannot keep known pixels exactly; PNG and TIFF can. For a folder of images a folder, whose
            PNGs are named after them; default: FOLDER-COMMAND beside it.
        resume: Continue an interrupted request for a folder of images: existing results are skipped, after a
            check that the same request made them.
    """

    model: str
    image: str
    variants: int = 1
    first: int = 0
    ring: int | None = None
    feather: int = 0
    window: Literal["auto", "whole", "crop", "tiles"] = "auto"
    out: str = ""
    resume: bool = False

    def __post_init__(self) -> None:
        getattr(super(), "__post_init__", bool)()  # of the command line's options, beside these
        check(1 <= self.variants <= 1000, "variants", self.variants, "ask for 1 to 1000 variants")
        check_first(self.first)
        check_seam(self.ring, self.feather)

    def inputs(self) -> list[Path]:
        """Files that are read."""
        return [Path(self.image)]

    def painted(self) -> dict[str, Any]:
        """Arguments of the pipeline's function besides the image, its region, the class and those that all
        edits share."""
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
    """Editing of a part of an image.

    Args:
        mask: Image of the same size: white is repainted; or the word alpha: where the image itself is
            transparent. For a folder of images: one for all, or a folder with one of the same name for
            each.
        box: Rectangle to repaint as x,y,width,height in pixels, from the top left; the union of mask, box and
            polygon is repainted, without what lies outside the image.
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
    """Repaint a part of an image: the white of a mask, a box, a polygon, or what is transparent. Every pixel
    outside it stays exactly as it is."""


@dataclass(frozen=True, kw_only=True)
class Outpaint(LabelOptions, EditOptions):
    """Continue an image beyond its borders. Every pixel of the image stays exactly as it is.

    Args:
        left, right, top, bottom: Pixels to add on each side.
        to: Format to continue it to, as width:height, such as 16:9, in place of pixels: the sides that are
            too short grow at both ends.
    """

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0
    to: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        sides = {name: getattr(self, name) for name in ("left", "top", "right", "bottom")}
        if self.to:
            read_format(self.to, sides)
        else:
            check_added(sides)

    def painted(self) -> dict[str, Any]:
        """Pixels to add on each side, or the format."""
        return {name: getattr(self, name) for name in ("left", "top", "right", "bottom", "to")}


@dataclass(frozen=True, kw_only=True)
class Edit(RegionOptions):
    """Repaint a part of an image as a class of your choice. Every pixel outside it stays exactly as it is.

    Args:
        label: The class to paint, by name or number.
        strength: 1 hides the present content; less starts from it at that noise level and keeps its layout in
            part.
    """

    label: str = ""
    strength: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strength(self.strength)


@dataclass(frozen=True, kw_only=True)
class Vary(LabelOptions, RegionOptions):
    """Variations of an image, or of the part that a mask, box or polygon marks: its codes are corrupted to a
    noise level and denoised from there.

    Args:
        strength: Noise level: 0 is the reconstruction by the tokenizer, 1 a new image.
        variants: Results. More than one are shown on one sheet and each written to a file of its own.
    """

    strength: float = 0.5
    variants: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_strength(self.strength)


@dataclass(frozen=True, kw_only=True)
class Tile(LabelOptions, EditOptions):
    """Make an image seamless: what lies around its border is repainted so that it fits when the image
    repeats. Every other pixel stays exactly as it is.

    Args:
        axis: Along which the image shall repeat: x (beside itself), y (below itself) or both.
        width: Pixels of the band that is repainted across each border, half of it on either side; 0 is a
            quarter of the image's side, at most 64.
        feather: Pixels at either edge of a band, inside it, over which the painting fades into the image; at
            most half of the band; 8 is 0 with a palette model, which mixes no colours.
        preview: Image that shows the first result three times in a row, below itself, or both. Empty for
            none.
    """

    axis: Axis = "both"
    width: int = 0
    feather: int = 8
    preview: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.width >= 0, "width", self.width, "give 2 pixels or more, such as 32, or 0 to choose")

    def painted(self) -> dict[str, Any]:
        """Where the bands lie."""
        return {"axis": self.axis, "width": self.width}


@dataclass(frozen=True, kw_only=True)
class Interpolate:
    """Interpolate between two images, at the model's size, as a strip or an animation.

    Args:
        model: Model folder, or the run that trained it.
        a: First image, of any size and mode.
        b: Last image.
        labels: Class of all frames, by name or number, or those of the first and of the last image,
            separated by a comma (a frame has that of the nearer one); none for no class.
        frames: Images, both ends included.
        strength: Noise level that the codes are corrupted to and denoised from: 0 mixes the codes of both
            images as they are.
        mix: vectors fades one image into the other; cells takes cell after cell from the second one.
        frame_ms: Milliseconds per frame of an animation.
        out: A strip, or with an ending of .gif or .webp an animation. Default: A-interpolated.png beside the
            first image.
    """

    model: str
    a: str
    b: str
    labels: str = ""
    frames: int = 8
    strength: float = 0.5
    mix: Literal["vectors", "cells"] = "vectors"
    frame_ms: int = 150
    out: str = ""

    def __post_init__(self) -> None:
        getattr(super(), "__post_init__", bool)()  # of the command line's options, beside these
        check(2 <= self.frames <= 1000, "frames", self.frames, "ask for 2 to 1000 frames, both ends included")
        check_strength(self.strength)
        hint = "give 20 to 60000 milliseconds per frame"
        check(20 <= self.frame_ms <= 60_000, "frame_ms", self.frame_ms, hint)
