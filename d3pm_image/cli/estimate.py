"""``d3pm-image estimate CONFIG``: parameters, operations, memory, disk and hours of a training, before it begins."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import ConfigError, DataConfig, DiffusionRun, TokenizerRun, need, pixel_codes, pixel_levels, size_pair
from ..documents import Unreadable, read_yaml
from ..estimate.grids import Codes
from .options import OutputOptions, write_report
from .parsing import normalise, parse

STAGES: dict[str, tuple[str, type[TokenizerRun | DiffusionRun]]] = {
    "tokenizer": ("train-tokenizer", TokenizerRun),
    "diffusion": ("train-diffusion", DiffusionRun),
}
MINE = {"process", "denoiser", "sampler", "cache"}  # rooms that only stage two has


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


def stage_of(path: str, stage: str) -> str:
    """Which stage a YAML file trains.

    Raises:
        ConfigError: no such file, not a mapping, or a file that both stages could read.
    """
    try:
        values = read_yaml(Path(path).expanduser())
    except Unreadable as error:
        raise ConfigError("file", path, f"{error}; name a YAML file of train-tokenizer or train-diffusion") from error
    need(isinstance(values, dict), "file", path, "holds no options; name a YAML file of train-tokenizer or train-diffusion")
    if stage != "auto":
        return stage
    if isinstance(values.get("tokenizer"), str) or MINE & set(values):
        return "diffusion"
    need(isinstance(values.get("tokenizer"), dict), "file", path, "does not say which stage it trains; add --stage tokenizer or diffusion")
    return "tokenizer"


def run(args: Estimate, others: list[str]) -> None:
    """Count, measure, print and write.

    Raises:
        ConfigError: wrong input, or a number of images that is neither given nor found.
    """
    stage = stage_of(args.file, args.stage)
    command, kind = STAGES[stage]
    config: TokenizerRun | DiffusionRun = parse(command, kind, ["--config", args.file, *others])
    need(
        config.train.batch_size % (args.devices * config.train.accumulate) == 0,
        "devices",
        args.devices,
        f"devices x train.accumulate must divide train.batch_size={config.train.batch_size}",
    )
    notes: list[str] = []
    if isinstance(config, TokenizerRun) and (config.loss.perceptual or config.loss.adversarial.weight):
        notes.append("the perceptual network and the discriminator are not counted")
    codes = tokenizer_codes(config, args.file, notes) if isinstance(config, DiffusionRun) else None
    images, classes = count_images(args, config.data, stage, notes)
    from ..estimate.report import Problem, assumed, counted, measured, report

    problem = Problem(config, codes, images, classes, args.devices)
    figures: dict[str, Any] = {"stage": stage, "file": args.file, **counted(problem)}
    if args.seconds:
        figures["measured"] = measured(problem, args.seconds, notes)
    if args.peak_tflops:
        figures["assumed"] = assumed(figures, args.peak_tflops, args.reached)
    figures["notes"] = notes
    report(figures)
    if args.out:
        write_report(args.out, args.overwrite, json.dumps(figures, indent=1), "figures")


def tokenizer_codes(config: DiffusionRun, path: str, notes: list[str]) -> Codes:
    """Grid and codes of the tokenizer of a stage-two run: pixels, a trained one, or one that a YAML file will train.

    Raises:
        ConfigError: none of these, or image settings that are not the tokenizer's.
    """
    levels = pixel_levels(config.tokenizer)
    if levels:
        size = size_pair(config.data.image_size)
        return Codes(pixel_codes(levels, config.data.channels), size, size, config.data.channels, config.tokenizer)
    plan = planned(config.tokenizer, path)
    if plan is not None:
        notes.append(f"the tokenizer is not trained yet; its codes are those of {plan}")
        first = parse("train-tokenizer", TokenizerRun, ["--config", str(plan)])
        size, channels = size_pair(first.data.image_size), first.data.channels
        found = Codes(first.tokenizer.num_codes, first.tokenizer.grid(size), size, channels, str(plan))
    else:
        from ..tokenizer import load_tokenizer

        try:
            model, info = load_tokenizer(config.tokenizer)
        except ConfigError as error:
            raise ConfigError(
                "tokenizer", config.tokenizer, f"{error.args[0].partition(': ')[2]}; or give --tokenizer FILE, the YAML that will train it"
            ) from error
        found = Codes(model.num_codes, model.grid(info.image_size), size_pair(info.image_size), info.channels, config.tokenizer)
    config.denoiser.token_grid(found.grid)
    return found


def planned(tokenizer: str, path: str) -> Path | None:
    """The YAML file of a tokenizer that is not trained yet: named outright, left by a run, or beside ``path`` and writing to that folder."""
    place = Path(tokenizer).expanduser()
    if place.is_file():
        return place
    if place.is_dir():
        unfinished = not any((place / name / "config.json").is_file() for name in ("model", "", "tokenizer"))
        return place / "config.yaml" if unfinished and (place / "config.yaml").is_file() else None
    beside = Path(path).expanduser().parent / "tokenizer.yaml"
    if beside.is_file() and parse("train-tokenizer", TokenizerRun, ["--config", str(beside)]).out == tokenizer:
        return beside
    return None


def count_images(args: Estimate, data: DataConfig, stage: str, notes: list[str]) -> tuple[int, int]:
    """Training images and classes, as given or as the source has them.

    Raises:
        ConfigError: the number of images is neither given nor to be found.
    """
    if args.images and (args.classes >= 0 or stage == "tokenizer"):
        return args.images, max(args.classes, 0)
    from ..data.sources import open_source

    try:
        source = open_source(dataclasses.replace(data, download=False))
        found, classes = len(source), len(source.class_names)
    except ConfigError as error:
        if not args.images:
            raise ConfigError(
                "images", 0, f"the images cannot be counted ({error}); give --images, the number of training images"
            ) from error
        notes.append("the images are not there: no classes assumed, say --classes to count their embeddings")
        found, classes = args.images, 0
    return args.images or found, classes if args.classes < 0 else args.classes
