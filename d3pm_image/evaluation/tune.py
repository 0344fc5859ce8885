"""Try samplers and their settings on a trained model, and make the best its default."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..bundle import own_model, set_default_sampler
from ..config import ConfigError, check, closest_match
from ..data.images import ImageSet
from ..data.sources import open_source
from ..devices import pick_device
from ..hub import SHIPPED
from ..imaging import save_image
from ..outputs import folder_to_write, new_files
from ..pipeline import Pipeline, load_pipeline
from ..recipes.arguments import filled
from ..sampling import SAMPLERS
from ..sampling.choice import Setting, flat
from ..tokenizer.folder import find
from ..visualization.curves import draw_chart
from .evaluate import IN_MEMORY, images_of, weights_digest
from .options import METRICS, TRIED, TuneSettings, Tuning
from .samples import SampleEvaluator, as_trained
from .sweep import Results, Skipped, combine, digest, measure_all, model_sha256, with_present

if TYPE_CHECKING:
    from ..data.objects import Data

Row = tuple[Setting, dict[str, float]]


def tune(
    model: str | os.PathLike[str] | Pipeline, data: Data | None = None, **settings: Unpack[TuneSettings]
) -> Tuned:
    """Find the sampler settings with which a trained model's images are best, against held-out images, and
    make them its default: ``tune(pipe, steps=[8, 16], guidance=[1, 2]).best``.

    The present settings and every combination of the listed values are measured once. The results are kept in
    ``out/tune.json``, so that an interrupted search continues from there.

    Args:
        model: A pipeline, or the folder, run or name of one.
        data: Images, as :func:`~d3pm_image.recipes.tokenizer.train_tokenizer` takes them. Default: those that
            the model was trained on.
        settings: See :class:`~d3pm_image.evaluation.options.Tuning`. The results of a pipeline are written
            only if ``out`` names a folder.

    Raises:
        ConfigError: wrong input, a model without classes, settings of which none fits, or none that reaches
            min_accuracy. TypeError: an unknown argument.
    """
    named = os.fspath(model) if isinstance(model, (str, os.PathLike)) else IN_MEMORY
    known = [field.name for field in dataclasses.fields(Tuning) if field.name != "model"]
    unknown = next((name for name in settings if name not in known), "")
    if unknown:
        raise TypeError(
            f"tune() got an unexpected keyword argument {unknown!r}{closest_match(unknown, known)}"
        )
    found = search(
        filled(Tuning(model=named), settings, ""), model if isinstance(model, Pipeline) else None, data
    )
    _ = found.winning  # raises where there is none
    return found


@dataclass(frozen=True)
class Tuned:
    """Results of a search.

    Args:
        pipe: The model, with the best settings as its default if they were saved.
        rows: Settings and their measures, the best first.
        skipped: Settings that do not fit the model.
        real: The same measures of real images: the values to reach.
        winner: The best row that reaches ``min_accuracy``; None if none does.
        figures_file, chart: tune.json and tune.png; None for a pipeline without ``out``, or nothing to draw.
    """

    args: Tuning
    pipe: Pipeline
    rows: list[Row]
    skipped: list[Skipped]
    real: dict[str, float]
    winner: Row | None
    figures_file: Path | None = None
    chart: Path | None = None

    @property
    def winning(self) -> Setting:
        """The best sampler and the settings that all share. Raises ConfigError if none reaches
        ``min_accuracy``."""
        if self.winner is None:
            hint = f"no setting reaches it, the best has {max(map(accuracy, self.rows)):g}; nothing was saved"
            raise ConfigError("min_accuracy", self.args.min_accuracy, hint)
        return self.winner[0]

    @property
    def best(self) -> dict[str, Any]:
        """The best settings by name, as :meth:`Pipeline.generate` takes them."""
        return flat(*self.winning)

    def __str__(self) -> str:
        """All settings, the best first, then the real images, then what was skipped."""
        names = [self.args.metric, *(name for name in METRICS if name != self.args.metric)]
        lines = [[*names, "calls", "seconds", "sampler", *TRIED, ""]]
        for setting, found in self.rows:
            values = [str(flat(*setting).get(name, "-")) for name in ("sampler", *TRIED)]
            short = accuracy((setting, found)) < self.args.min_accuracy
            note = f"accuracy under {self.args.min_accuracy:g}" if short else ""
            best = self.winner is not None and setting is self.winner[0]
            lines.append([*row_of_figures(found, names), *values, "best" if best else note])
        lines.append([*row_of_figures(self.real, names), "real images", *"-" * 5, "the values to reach"])
        for item in self.skipped:
            lines.append([*"-" * 7, item.sampler, str(item.steps), *"-" * 4, f"skipped: {item.reason}"])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
        text = [[f"{cell:>{width}}" for cell, width in zip(line, widths, strict=False)] for line in lines]
        return "\n".join(
            "  ".join([*cells, line[-1]]).rstrip() for cells, line in zip(text, lines, strict=True)
        )


def search(args: Tuning, pipe: Pipeline | None = None, data: Data | None = None) -> Tuned:
    """Measure, rank, write and save. Nothing is saved if no setting reaches ``min_accuracy``.

    Args:
        pipe: A pipeline that is loaded already; else ``args.model`` names one.

    Raises:
        ConfigError: see :func:`tune`.
    """
    place = None
    if args.out:
        folder_to_write(args.out)
    if pipe is None:
        place = (own_model(args.model) if args.save else find(args.model, "pipeline", "model")).resolve()
        pipe = load_pipeline(args, place)
    elif args.device != "auto":
        pipe.to(pick_device(args.device))
    args = dataclasses.replace(args, precision=pipe.precision)
    folder = results_folder(args, place)
    tried, skipped, results = measured(args, pipe, place, folder, data)
    rows = ranked([(setting, results.find(setting) or {}) for setting in tried], args.metric)
    winner = next(
        (row for row in rows if figure(row, args) is not None and accuracy(row) >= args.min_accuracy), None
    )
    results.write(summary(args, rows, skipped, winner))
    chart = None if folder is None else draw(rows, args, winner, folder / "tune.png")
    if winner is not None and args.save:
        metadata = {"tuned": chosen(args, winner[1])}
        pipe.sampler, pipe.sampling = winner[0]
        pipe.metadata = pipe.metadata | metadata
        if place is not None:
            set_default_sampler(place, *winner[0], metadata)
    real = results.find(None) or {}
    return Tuned(args, pipe, rows, skipped, real, winner, results.path, chart)


def results_folder(args: Tuning, place: Path | None) -> Path | None:
    """Folder of the results: ``out``, else ``tune`` beside the model of a run, ``NAME-tune`` beside a folder
    of another name, and nowhere for a pipeline in memory or a model that came with the package."""
    if args.out:
        return Path(args.out).expanduser()
    if place is None or place.is_relative_to(SHIPPED):
        return None
    return place.with_name("tune" if place.name == "model" else f"{place.name}-tune")


def measured(
    args: Tuning, pipe: Pipeline, place: Path | None, folder: Path | None, data: Data | None
) -> tuple[list[Setting], list[Skipped], Results]:
    """Check everything, then measure what has not been measured yet."""
    hint = (
        "was trained without classes; samples are evaluated by a classifier of the training images, so tune"
        " needs a labelled data set"
    )
    check(bool(pipe.class_names), "model", args.model, hint)
    settings, skipped = combine(args.lists(), pipe)
    reason = f"no combination fits this model ({skipped[0].reason})" if skipped else ""
    check(bool(settings), "samplers", ",".join(args.samplers), reason)
    settings = with_present(settings, (pipe.sampler, pipe.sampling))
    config, given = images_of(args, pipe.tokenizer, pipe, pipe.metadata, data)
    sources = [open_source(config, held_out=held_out, given=given) for held_out in (False, True)]
    train, held_out = (as_trained(source, pipe.class_names) for source in sources)
    conditions = {
        "model_sha256": digest_of(pipe) if place is None else model_sha256(place),
        "data": f"{train.fingerprint} {held_out.fingerprint}",
        "num_samples": args.num_samples,
        "seed": args.seed,
        "precision": pipe.precision,
        "device": pipe.device.type if place is None else pick_device(args.device),
    }
    results = Results(None if folder is None else folder / "tune.json", conditions)
    try:
        measure_all(
            pipe,
            settings,
            results,
            lambda: SampleEvaluator(train, config, ImageSet(held_out, config), pipe.class_names),
            args.batch_size,
        )
    except KeyboardInterrupt:
        done = sum(results.find(setting) is not None for setting in settings)
        kept = "; the same command goes on from there" if folder is not None else ""
        print(f"\nstopped: {done} of {len(settings)} settings are measured{kept}", file=sys.stderr)
        raise
    return settings, skipped, results


def digest_of(pipe: Pipeline) -> str:
    """Hash of all that decides a pipeline's samples but the sampler."""
    parts = {"process": dataclasses.asdict(pipe.process_config), "class_names": list(pipe.class_names)}
    return digest(parts | {"weights": [weights_digest(pipe.denoiser), weights_digest(pipe.tokenizer)]})


def figure(row: Row, args: Tuning) -> float | None:
    """The measure that a row is ranked by; None for NaN."""
    return row[1].get(METRICS[args.metric])


def accuracy(row: Row) -> float:
    """Fraction of a setting's samples that show the requested class."""
    return row[1].get("label_accuracy", 0.0)


def ranked(rows: list[Row], metric: str) -> list[Row]:
    """Best first; of equal values the one with fewer network calls, and what has no value last."""
    sign = 1 if metric == "frechet" else -1

    def key(row: Row) -> tuple[float, float]:
        value = row[1].get(METRICS[metric])
        return (float("inf") if value is None else sign * value, row[1].get("calls_per_image", 0))

    return sorted(rows, key=key)


def row_of_figures(found: dict[str, float], names: Sequence[str]) -> list[str]:
    """Values of one row of the table, as text."""
    values = [found.get(METRICS[name]) for name in names]
    rest = [found.get("calls_per_image"), found.get("seconds")]
    return [
        *("-" if v is None else f"{v:.4f}" for v in values),
        *("-" if v is None else f"{v:.1f}" for v in rest),
    ]


def chosen(args: Tuning, figures: dict[str, float]) -> dict[str, Any]:
    """Metadata of a choice."""
    metadata = {
        "metric": args.metric,
        "value": figures.get(METRICS[args.metric]),
        "min_accuracy": args.min_accuracy,
    }
    metadata |= {name: figures.get(name) for name in ("label_accuracy", "calls_per_image")}
    return metadata | {"num_samples": args.num_samples, "seed": args.seed, "precision": args.precision}


def summary(args: Tuning, rows: list[Row], skipped: list[Skipped], winner: Row | None) -> dict[str, Any]:
    """What was asked, chosen, ranked and skipped, for the head of tune.json."""
    return {
        "model": args.model,
        "asked": args.lists() | {"metric": args.metric, "min_accuracy": args.min_accuracy},
        "best": None if winner is None else {"settings": flat(*winner[0]), **chosen(args, winner[1])},
        "ranking": [{"settings": flat(*setting), "figures": figures} for setting, figures in rows],
        "skipped": [dataclasses.asdict(item) for item in skipped],
    }


def draw(rows: list[Row], args: Tuning, winner: Row | None, path: Path) -> Path | None:
    """The chosen measure over network calls, one series per sampler, as an image file; None where nothing has
    a value."""

    def point(row: Row) -> tuple[float, float]:
        return row[1]["calls_per_image"], row[1][METRICS[args.metric]]

    shown = [row for row in rows if figure(row, args) is not None]
    if not shown:
        return None
    names = [name for name in SAMPLERS if any(row[0][0].name == name for row in shown)]
    series = {name: [point(row) for row in shown if row[0][0].name == name] for name in names}
    lower = args.metric == "frechet"
    words = (
        "Frechet distance (lower is better)"
        if lower
        else f"{args.metric.replace('_', ' ')} (higher is better)"
    )
    title = f"{args.num_samples} images per setting, seed {args.seed}"
    image = draw_chart(
        series, title, "network calls per image", words, lower, point(winner) if winner else None
    )
    with new_files(path, args.overwrite) as files:
        save_image(image, files.draft)
    return files.path


def as_options(setting: Setting) -> str:
    """The tried settings as ``generate`` takes them on the command line."""
    values = flat(*setting)
    return " ".join(f"--{name} {values[name]}" for name in ("sampler", *TRIED) if name in values)
