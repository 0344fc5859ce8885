"""``d3pm-image vary MODEL IMAGE``: variations of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from .editing import LabelOptions, RegionOptions, check_strength
from .job import Job, label_of, region, run_edit


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


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image vary`` and run it. Raises ConfigError for wrong input."""
    run_edit("vary", Vary, arguments, run, ("model", "image", "mask"), "varied")


def run(args: Vary, job: Job) -> None:
    """Vary and write. Raises ConfigError for wrong input; nothing is written then."""
    hidden = region(args, job.image, needed=False)
    pipe = job.pipeline()
    label = label_of(args.labels, pipe.class_names)
    job.finish(pipe, pipe.vary(job.image, args.strength, label, mask=hidden, **job.drawing()), hidden)
