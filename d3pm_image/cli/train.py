"""``d3pm-image train IMAGES``: a parser over :func:`d3pm_image.train`."""

from __future__ import annotations

from dataclasses import dataclass

from ..config.own_images import OwnImages
from ..parser import parse

IMAGES = "Folder of images, shards, or a data set by name."


@dataclass(frozen=True, kw_only=True)
class Train(OwnImages):
    """Train both stages on your own images in a given time. Image size, networks, steps and mirroring are
    chosen by the images, this machine and the time, after a short measurement, and printed with their
    reasons; whatever you do not set is chosen for you. Ends with new images, an inpainting and a
    report.

    Args:
        data: Folder of images, shards, or a data set by name.

    Example:
        d3pm-image train photos --minutes 30
    """

    data: str


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image train`` and run it. Raises ConfigError for wrong input."""
    args = parse("train", Train, arguments, {"data": IMAGES})
    from ..recipes.own_images.train import run

    run(args, args.data)
