"""Settings of ``reconstruct``: which images are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..errors import check


@dataclass(frozen=True)
class ShownSet:
    """A data set whose images are shown.

    Args:
        source: A data set by name, as train-tokenizer takes it (fashion_mnist, cifar10, …); empty for the one
            that the model was trained on.
        root: Folder of the data set, if it is not the usual one.
        part: Show held_out images, or training images.
    """

    source: str = ""
    root: str = ""
    part: Literal["held_out", "training"] = "held_out"


@dataclass(frozen=True)
class ReconstructConfig:
    """Show images above their reconstructions by a tokenizer.

    Args:
        model: Tokenizer folder, model folder, or the run that trained either.
        images: Images, separated by commas, or a folder of images.
        data: Where the images come from, if no images are named.
        limit: Images of a folder or data set that are shown, spread evenly over it.
        out: Result image.
    """

    model: str
    images: str = ""
    data: ShownSet = field(default_factory=ShownSet)
    limit: int = 8
    out: str = "reconstruction.png"

    def __post_init__(self) -> None:
        check(1 <= self.limit <= 1000, "limit", self.limit, "show 1 to 1000 images")
        both = self.images and self.data != ShownSet()
        hint = "images and a data set cannot both be shown; leave out one of them"
        check(not both, "images", self.images, hint)
        hint = "name the folder as IMAGES: d3pm-image reconstruct MODEL FOLDER"
        check(self.data.source != "folder", "data.source", "folder", hint)
