"""Options that the editing commands share.

Nothing here imports torch, not even for types: ``--help`` reads this module. And types are spelled out: a name that is imported
here, such as that of windows, would not be found by the parsers of the commands, which then check nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..config import need
from .options import WatchedOptions


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
        need(self.ring is None or self.ring >= 0, "ring", self.ring, "give 0 or more code cells, or null for the default")
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
