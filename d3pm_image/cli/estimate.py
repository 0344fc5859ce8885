"""``d3pm-image estimate CONFIG``: parameters, operations, memory, disk and hours of a training, before it begins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..config import DiffusionRun, TokenizerRun, need
from .options import OutputOptions, write_report
from .parsing import normalise, parse

STAGES: dict[str, tuple[str, type[TokenizerRun | DiffusionRun]]] = {
    "tokenizer": ("train-tokenizer", TokenizerRun),
    "diffusion": ("train-diffusion", DiffusionRun),
}


@dataclass(frozen=True, kw_only=True)
class Estimate(OutputOptions):
    """Estimate a training before it begins: parameters, operations a step, memory, disk, and hours on this machine after a short measurement. Any option of train-tokenizer or train-diffusion may follow and overrides the file; the run's folder is not touched and no images are read (a source that is there is only counted).

    Args:
        file: YAML file of train-tokenizer or train-diffusion. Stage two needs its tokenizer: a trained one, or --tokenizer FILE, the YAML that will train it.
        stage: tokenizer or diffusion; auto looks at the options in the file.
        images: Training images; 0 counts those of the source.
        classes: Classes of stage two; -1 takes those of the source, or none where it is not there.
        seconds: Length of the measurement on this machine; 0 leaves it out.
        devices: Processes, a device each, that share a step's batch; memory and operations are a device's.
        peak_tflops: Peak rate of a device that you think of, in TFLOP/s in the run's precision, for its hours beside this machine's; 0 is off.
        reached: Share of peak_tflops that training is assumed to reach.
        out: JSON file for the figures; empty prints them only.
    """

    file: str
    stage: Literal["auto", "tokenizer", "diffusion"] = "auto"
    images: int = 0
    classes: int = -1
    seconds: float = 15.0
    devices: int = 1
    peak_tflops: float = 0.0
    reached: float = 0.45
    out: str = ""

    def __post_init__(self):
        need(self.images >= 0, "images", self.images, "give the number of training images, or 0 to count those of the source")
        need(self.classes >= -1, "classes", self.classes, "give 0 or more classes, or -1 for those of the source")
        need(0 <= self.seconds <= 3600, "seconds", self.seconds, "give 0 (no measurement) to 3600 seconds")
        need(self.devices >= 1, "devices", self.devices, "use at least 1")
        need(0 <= self.peak_tflops < 1e6, "peak_tflops", self.peak_tflops, "give TFLOP/s, such as 989, or 0")
        need(0 < self.reached <= 1, "reached", self.reached, "give a share in (0, 1], such as 0.45")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image estimate`` and run it. Raises ConfigError for wrong input."""
    own, others = divide(normalise(arguments))
    args = parse("estimate", Estimate, own, {"file": "YAML file of train-tokenizer or train-diffusion."})
    run(args, others)


def divide(arguments: list[str]) -> tuple[list[str], list[str]]:
    """This command's own arguments, and the options of the run, which are all others."""
    mine = {f"--{field.name}" for field in dataclasses.fields(Estimate)} - {"--file"}
    own: list[str] = []
    others: list[str] = []
    takes: list[str] | None = None
    for word in arguments:
        if word.startswith("--"):
            takes = own if word.partition("=")[0] in mine or word == "--help" else others
            takes.append(word)
            takes = None if "=" in word else takes
        else:
            (own if takes is None else takes).append(word)
            takes = None
    return own, others


def run(args: Estimate, others: list[str]) -> None:
    """Count, measure, print and write.

    Raises:
        ConfigError: wrong input, or a number of images that is neither given nor found.
    """
    from ..estimate.report import figures_of, report
    from ..estimate.subject import make_problem, stage_of

    stage = stage_of(args.file, args.stage)
    config = read_run(stage, args.file, others)
    problem, notes = make_problem(config, args.file, args.images, args.classes, args.devices, lambda path: read_run("tokenizer", path))
    figures = {"stage": stage, "file": args.file} | figures_of(problem, notes, args.seconds, args.peak_tflops, args.reached)
    report(figures)
    if args.out:
        write_report(args.out, args.overwrite, json.dumps(figures, indent=1), "figures")


def read_run(stage: str, path: str, others: Sequence[str] = ()) -> Any:
    """The settings of a run out of its YAML file. Raises ConfigError for what train-tokenizer or train-diffusion would refuse."""
    return parse(*STAGES[stage], ["--config", path, *others])
