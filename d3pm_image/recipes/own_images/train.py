"""Both stages in one call: ``train("photos", minutes=30)``.

    inspect → choose (measuring the machine) → stage one → stage two in the remaining time → images, report

``chosen.json`` of the run's folder records the choices, with which an interrupted training continues.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from ...config import ConfigError, DataConfig, check
from ...config.own_images import MINUTES, OwnImages
from ...devices import MixedPrecision, pick_device
from ...outputs import folder_to_write
from ...printable import printable
from ...provenance.machine import machine
from ...system.threads import fitting_threads, torch_threads
from ...training.launch import place_among_processes
from .. import diffusion, tokenizer
from ..arguments import check_names, data_settings, filled
from ..run_summary import training_facts
from .budget import LEAST_STEPS, Budget, Costs
from .choice import Chosen, choose, loop, train_again
from .memory import Kept, keep, kept
from .pace import Measured
from .subject import Seen, look

if TYPE_CHECKING:
    from ...data.objects import Data, GivenImages
    from ...pipeline import Pipeline
    from .report import ReportText

MEASURED = 0.01
"""Share of the time that one measurement takes, within :data:`MEASURED_S` seconds."""
MEASURED_S = (0.3, 6.0)


class OwnSettings(TypedDict, total=False):
    """Settings of a request, see :class:`~d3pm_image.config.own_images.OwnImages`."""

    resume: bool
    image_size: int | tuple[int, int]
    channels: Literal[0, 1, 2, 3, 4]
    flip: bool | None
    downsampling: Literal[0, 1, 2, 4, 8, 16]
    tokenizer_width: int
    width: int
    depth: int
    tokenizer_steps: int
    steps: int
    start_from: str
    learn: Literal["all", "decoder"]
    precision: MixedPrecision
    seed: int
    open: bool


def train(
    data: Data, *, minutes: float = 0.0, out: str | os.PathLike[str] = "", **settings: Unpack[OwnSettings]
) -> Pipeline:
    """Train both stages on your own images in a given time, and write ``<out>/model``, ``grid.png``,
    ``inpainting.png`` and ``report.html``; ``train("photos", minutes=30)``.

    Args:
        data: As :func:`~d3pm_image.recipes.tokenizer.train_tokenizer` takes it.
        minutes: Time for everything; 0 is 30, or that of the training that is resumed.
        out: Folder of the run; runs/NAME by default, after the images.
        settings: The fields of :class:`~d3pm_image.config.own_images.OwnImages`; what is left out is chosen
            by the images, this machine and the time, and printed with its reason.

    Returns:
        The trained pipeline.

    Raises:
        ConfigError: wrong input, too few images, or too little time; nothing is written then. TypeError: an
            unknown argument. TrainingError: training cannot go on. Interrupted: it was stopped by a signal,
            after it saved (``resume=True`` continues).
    """
    check_names("train", settings, OwnImages(), ("data",))
    return run(filled(OwnImages(), {**settings, "minutes": minutes, "out": out}, ""), data)


@dataclass(frozen=True)
class TimedTraining:
    """A training whose request was checked.

    Args:
        asked: What was asked for.
        out: Its folder.
        given: The images, where a program holds them.
        clock: Seconds since it began, including those before an interruption.
        seconds: Durations by part, filled during training.
    """

    asked: OwnImages
    out: Path
    given: GivenImages | None
    clock: Callable[[], float]
    seconds: dict[str, float]

    def timed(self, name: str, since: float) -> None:
        """Record a duration."""
        self.seconds[name] = self.clock() - since

    def at_least(self, name: str, seconds: float) -> None:
        """Record the seconds of a stage that was done or begun before this start."""
        self.seconds[name] = max(seconds, self.seconds.get(name, 0.0))


def run(asked: OwnImages, data: Data) -> Pipeline:
    """The work of :func:`train`.

    Raises:
        ConfigError: see there.
    """
    began = time.perf_counter()
    # of a command's options, which have more fields, what the run's folder remembers
    asked = OwnImages(**{item.name: getattr(asked, item.name) for item in dataclasses.fields(OwnImages)})
    hint = "one process trains with what it measured; for several use train-tokenizer and train-diffusion"
    check(place_among_processes()[1] == 1, "processes", place_among_processes()[1], hint)
    labels = {"labels": asked.labels} if asked.labels else {}
    config, given = data_settings(data, DataConfig(), DataConfig(), labels)
    out = folder_to_write(asked.out or f"runs/{name_of(config)}")
    earlier = kept(out, asked, config)
    if earlier:  # what was asked for holds, but for what is said of this start
        minutes = asked.minutes or earlier.asked.minutes
        asked = dataclasses.replace(
            earlier.asked, out=asked.out, resume=True, open=asked.open, minutes=minutes
        )
    asked = dataclasses.replace(asked, minutes=asked.minutes or MINUTES)
    before = seconds_of(out / "tokenizer") + seconds_of(out) if earlier else 0.0
    training = TimedTraining(asked, out, given, lambda: time.perf_counter() - began + before, {})
    state = earlier or begin(training, config)
    training.timed("reading, measuring, choosing", before)
    print(f"chosen for {state.seen.images} images; give an option to change it:\n{state.chosen}")
    print(f"report, with previews until then: {printable(out / 'report.html', 0)}")
    show(training, state)
    first_stage(training, state)
    state = in_the_time_left(training, state)
    second_stage(training, state)
    return finish(training, state)


def seconds_of(place: Path) -> float:
    """Seconds that the training in a run's folder took so far, by its log."""
    return float(training_facts(place).get("seconds", 0.0))


def name_of(data: DataConfig) -> str:
    """A name for the run: that of the folder or set."""
    place = Path(data.root).expanduser()
    name = place.resolve().name if data.root and place.is_dir() else place.stem.split("{")[0].strip("-_*?")
    return name or Path(data.name).name or (data.source if data.source != "python" else "images")


def begin(training: TimedTraining, data: DataConfig) -> Kept:
    """Inspect, measure, choose, and record it in the run's folder.

    Raises:
        ConfigError: see :func:`train`; nothing is written then.
    """
    from ...data.sources import open_source
    from ...training.loop import check_folder

    for place in (training.out, training.out / "tokenizer"):
        try:
            check_folder(place, False)
        except ConfigError as error:
            hint = f"{place} holds a run that was not begun by this command; choose another folder"
            raise ConfigError("out", str(training.out), hint) from error
    seen = look(open_source(data, False, training.given), open_source(data, True, training.given))
    budget = Budget(training.asked.minutes, seen, training.clock)
    chosen, costs = choose(seen, training.asked, data, str(training.out), budget, pace_of(training, seen))
    state = Kept(training.asked, data, seen, costs, chosen)
    training.out.mkdir(parents=True, exist_ok=True)
    keep(training.out, state)
    return state


def pace_of(training: TimedTraining, seen: Seen) -> Measured:
    """Measures steps in a small share of the time."""
    least, most = MEASURED_S
    return Measured(seen.classes, min(most, max(least, MEASURED * 60 * training.asked.minutes)))


def show(training: TimedTraining, state: Kept) -> None:
    """The page of previews; ``open`` opens it in the browser."""
    from .report import NAME, write_progress

    if not (training.out / "model").is_dir():
        write_progress(training.out, state.chosen, text_of(training, state))
    if training.asked.open:
        webbrowser.open((training.out / NAME).resolve().as_uri())


def first_stage(training: TimedTraining, state: Kept) -> None:
    """Train the tokenizer, unless that is done."""
    since, config = training.clock(), state.chosen.tokenizer
    if not (Path(config.out) / "model" / "config.json").is_file():
        print(f"stage one, the tokenizer: previews in {printable(Path(config.out) / 'previews', 0)}")
        tokenizer.run(dataclasses.replace(config, resume=training.asked.resume), training.given, alone=False)
        training.timed("stage one, the tokenizer", since)
    training.at_least("stage one, the tokenizer", seconds_of(Path(config.out)))


def in_the_time_left(training: TimedTraining, state: Kept) -> Kept:
    """The same with as many steps of stage two as the remaining time allows at its present speed; unchanged
    once stage two has begun."""
    if (training.out / "config.yaml").is_file():
        if training.asked.minutes != state.asked.minutes:
            print(
                f"note: stage two was begun with {state.chosen.diffusion.train.steps} steps, which"
                " --minutes no longer changes; train longer with train-diffusion --start-from"
                f" {printable(training.out, 0)}",
                file=sys.stderr,
            )
        return state
    chosen, seen = state.chosen, state.seen
    second = chosen.diffusion
    costs, budget = state.costs, Budget(training.asked.minutes, seen, training.clock, first_done=True)
    if not training.asked.steps:
        step_s = pace_of(training, seen)(chosen.tokenizer, second)
        costs = Costs(costs.tokenizer, step_s / second.train.batch_size)
    part = budget.parts(costs)[1]
    steps = training.asked.steps or max(LEAST_STEPS, part.steps)
    changed = chosen.with_loop(
        loop(steps, part.previews, bool(second.train.patience)), training.asked.minutes
    )
    found = dataclasses.replace(state, costs=costs, chosen=changed)
    keep(training.out, found)
    return found


def second_stage(training: TimedTraining, state: Kept) -> None:
    """Train the denoiser, unless that is done."""
    since, config = training.clock(), state.chosen.diffusion
    if not (training.out / "model" / "config.json").is_file():
        where = printable(training.out / "previews", 0)
        print(f"stage two, the denoiser: {config.train.steps} steps; previews in {where}")
        resume = training.asked.resume and (training.out / "config.yaml").is_file()
        diffusion.run(dataclasses.replace(config, resume=resume), training.given, alone=False)
        training.timed("stage two, the denoiser", since)
    training.at_least("stage two, the denoiser", seconds_of(training.out))


def finish(training: TimedTraining, state: Kept) -> Pipeline:
    """Generate, compare, write the report, and print the paths."""
    from ...pipeline import Pipeline
    from .report import write_report
    from .results import draw_results

    since = training.clock()
    pipe = Pipeline.from_pretrained(training.out, pick_device("auto"), "auto")
    with torch_threads(fitting_threads()[0]):
        results = draw_results(pipe, training.out, training.given, training.asked.seed)
    training.timed("images and report", since)
    training.timed("in all", 0.0)
    text = text_of(training, state, pipe)
    report = write_report(training.out, state.chosen, results, text)
    print(f"new images: {printable(results.grid, 0)}")
    print(f"inpainting: {printable(results.inpainting, 0)}")
    print(f"near-copies of training images: {results.near} of {results.drawn} new images")
    print(f"report: {printable(report, 0)}")
    print(f"{training.clock() / 60:.1f} of {training.asked.minutes:g} minutes")
    for name, lines in text.commands.items():
        print(f"{name.lower()}:", *(f"  {line}" for line in lines), sep="\n")
    return pipe


def text_of(training: TimedTraining, state: Kept, pipe: Pipeline | None = None) -> ReportText:
    """Texts of the page."""
    from .report import ReportText

    seen, here = state.seen, machine()
    device = here["gpu"] if here["gpu"] != "none" else here["processor"]
    lines = [
        f"Trained on {seen.images} images; {seen.held_out} were held out."
        f" {training.asked.minutes:g} minutes on {device}, torch {here['torch']}."
    ]
    scores = [] if pipe is None else scores_of(training.out, state.chosen, pipe.metadata)
    early = pipe is not None and stopped_early(training.out, state.chosen)
    found = commands(training, state, early)
    return ReportText(f"Trained on {name_of(state.data)}", lines, training.seconds, scores, found)


def scores_of(out: Path, chosen: Chosen, metadata: dict[str, Any]) -> list[str]:
    """Held-out measures of both stages, and where training stopped."""
    first, second = (metadata.get("tokenizer") or {}).get("validation", {}), metadata.get("validation", {})
    said = [
        f"Held-out images through the tokenizer: {first.get('psnr_db', 0):.1f} dB,"
        f" {first.get('codes_used', 0):.0f} of {chosen.tokenizer.tokenizer.num_codes} codes used. Held-out"
        f" bound of the denoiser: {second.get('bits_per_code', 0):.2f} bits per code."
    ]
    for name, place, config in (
        ("one", out / "tokenizer", chosen.tokenizer),
        ("two", out, chosen.diffusion),
    ):
        reached, steps = training_facts(place).get("steps", 0), config.train.steps
        early = (
            ", where the held-out score had not got better for a while: more images would help, more minutes"
            " would not"
            if reached < steps
            else ""
        )
        said.append(f"Stage {name} ended at step {reached} of {steps}{early}; its best weights are kept.")
    return said


def stopped_early(out: Path, chosen: Chosen) -> bool:
    """Whether stage two ended before its steps, because the held-out score no longer improved."""
    reached = training_facts(out).get("steps", chosen.diffusion.train.steps)
    return bool(reached < chosen.diffusion.train.steps)


def commands(training: TimedTraining, state: Kept, early: bool) -> dict[str, list[str]]:
    """Next commands, and commands to train again with other settings; without more minutes where training
    ended early."""
    plain = printable(training.out, 0)
    out = shlex.quote(plain)
    following = [
        f"d3pm-image generate {out} --num-images 64 --out more.png",
        f"d3pm-image inpaint {out} IMAGE --box 40,30,64,48 --out inpainted.png",
        f"d3pm-image app {out}",
        f"d3pm-image doctor {out}",
    ]
    again = train_again(state.data, plain, training.asked.minutes)[1 if early else 0 :]
    return {"Next": following, "To change it": again}
