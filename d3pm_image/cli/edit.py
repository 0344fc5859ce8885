"""``d3pm-image edit MODEL IMAGE [MASK] --label NAME``: repaint a part of a picture as another class."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import need
from .editing import RegionOptions, check_strength
from .job import Job, label_of, region, run_edit


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


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image edit`` and run it. Raises ConfigError for wrong input."""
    run_edit("edit", Edit, arguments, run, ("model", "image", "mask"), "edited")


def run(args: Edit, job: Job) -> None:
    """Repaint and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden = region(args, job.image)
    need(bool(args.label.strip()), "label", args.label, "is needed: one class, by name or number")
    pipe = job.pipeline()
    label = label_of(args.label, pipe.class_names, "label")
    need(label is not None, "label", args.label, "name the class that the region shall show")
    job.finish(pipe, pipe.edit(job.image, hidden, label, strength=args.strength, **job.drawing()), hidden)
