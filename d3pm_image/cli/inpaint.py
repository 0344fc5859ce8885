"""``d3pm-image inpaint MODEL IMAGE [MASK]``: repaint a part of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from .editing import LabelOptions, RegionOptions
from .job import Job, label_of, region, run_edit


@dataclass(frozen=True, kw_only=True)
class Inpaint(LabelOptions, RegionOptions):
    """Repaint a part of a picture: the white of a mask, a box, a polygon, or what is transparent. Every pixel outside it stays exactly as it is."""


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image inpaint`` and run it. Raises ConfigError for wrong input."""
    run_edit("inpaint", Inpaint, arguments, run, ("model", "image", "mask"), "inpainted")


def run(args: Inpaint, job: Job) -> None:
    """Repaint and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden = region(args, job.image)
    pipe = job.pipeline()
    label = label_of(args.labels, pipe.class_names)
    job.finish(pipe, pipe.inpaint(job.image, hidden, label, **job.drawing()), hidden)
