"""``d3pm-image outpaint MODEL IMAGE --left 16 --right 16``: continue a picture beyond its borders."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import need
from .editing import EditOptions, LabelOptions
from .job import Job, label_of, run_edit


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


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image outpaint`` and run it. Raises ConfigError for wrong input."""
    run_edit("outpaint", Outpaint, arguments, run, ("model", "image"), "outpainted")


def run(args: Outpaint, job: Job) -> None:
    """Continue and write. Raises ConfigError for wrong input; nothing is written then."""
    from ..editing.outpaint import check_sides, extend

    sides = {name: getattr(args, name) for name in ("left", "top", "right", "bottom")}
    check_sides(job.image.size, sides)
    canvas, hidden = extend(job.image, **sides)
    pipe = job.pipeline()
    label = label_of(args.labels, pipe.class_names)
    job.finish(pipe, pipe.outpaint(job.image, **sides, labels=label, **job.drawing()), hidden, canvas)
