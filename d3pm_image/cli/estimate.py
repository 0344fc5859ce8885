"""``d3pm-image estimate CONFIG``: parameters, operations, memory, disk and hours of a training, before it
begins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config import DiffusionRun, TokenizerRun
from ..config.estimate import EstimateConfig
from ..config.running import OutputOptions
from ..outputs import write_report
from ..parser import parse
from ..parser.arguments import normalise

STAGES: dict[str, tuple[str, type[TokenizerRun | DiffusionRun]]] = {
    "tokenizer": ("train-tokenizer", TokenizerRun),
    "diffusion": ("train-diffusion", DiffusionRun),
}


@dataclass(frozen=True, kw_only=True)
class Estimate(EstimateConfig, OutputOptions):
    """Estimate a training before it begins: parameters, operations per step, memory, disk, and hours on this
    machine after a short measurement. Any option of train-tokenizer or train-diffusion may follow and
    overrides the file; the run's folder is not touched and no images are read (the images of an existing
    source are only counted).

    Args:
        out: JSON file for the numbers; empty only prints them.

    Example:
        d3pm-image estimate configs/eurosat/diffusion.yaml
    """

    out: str = ""


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
    problem, notes = make_problem(config, args, lambda path: read_run("tokenizer", path))
    figures = {"stage": stage, "file": args.file} | figures_of(problem, notes, args)
    report(figures)
    if args.out:
        write_report(args.out, args.overwrite, json.dumps(figures, indent=1), "figures")


def read_run(stage: str, path: str, others: Sequence[str] = ()) -> Any:
    """The settings of a run from its YAML file. Raises ConfigError for what train-tokenizer or
    train-diffusion would refuse."""
    return parse(*STAGES[stage], ["--config", path, *others])
