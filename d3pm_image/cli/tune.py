"""``d3pm-image tune MODEL``: try samplers and their settings, and make the best the model's default."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import ConfigError, SamplingConfig, near, need
from ..devices import pick_device
from ..outputs import folder_to_write, new_files
from ..printable import printable
from ..sampling import SAMPLERS
from ..sampling.choice import SHARED, Setting, flat, make_sampler, owners
from .options import OutputOptions, RunOptions
from .parsing import parse

METRICS = {
    "frechet": "frechet_distance",
    "label_accuracy": "label_accuracy",
    "coverage": "coverage",
    "recall": "recall",
    "precision": "precision",
}
Row = tuple[Setting, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Tune(RunOptions, OutputOptions):
    """Find the sampler settings with which a trained model's images are best, against held-out images, and make them its default. The present settings and every combination of the listed values are measured once; the figures are kept, so that a stopped search goes on where it stood.

    Args:
        model: Model folder, or the run that trained it; trained on images with classes.
        samplers: Samplers to try, separated by commas, or all; those that do not fit the model are noted and skipped.
        steps: Numbers of steps to try, separated by commas.
        temperature: Temperatures to try, separated by commas. Default: the model's own, as for every setting that is not listed.
        guidance: Guidance weights to try, separated by commas; 1 is off and costs half the network calls.
        eta: Values of eta to try with the samplers that read it, separated by commas.
        gumbel: Values of gumbel to try with the samplers that read it, separated by commas.
        metric: What to choose by: frechet (distance to held-out images, lower is better), label_accuracy, coverage, recall or precision (higher is better). Equal values: fewer network calls win.
        min_accuracy: Choose only among settings with at least this label accuracy; 0 is off.
        num_samples: Images a setting. The Fréchet distance falls with it, so compare values of one number only.
        root: Folder of the data set, where it is not the one that the model remembers.
        val_root: Folder of the held-out images, where the model was trained with such a folder and it is elsewhere now.
        out: Folder for tune.json (all figures; a later search adds its own) and tune.png (quality over network calls). Default: tune in the run's folder, beside its model; for a model folder elsewhere NAME-tune beside it.
        save: Make the winner the model's default sampler.
    """

    model: str
    samplers: str = "confidence,ancestral,ctmc,remask"
    steps: str = "8,16,32"
    temperature: str | None = None
    guidance: str = "1,1.5,2"
    eta: str | None = None
    gumbel: str | None = None
    metric: Literal["frechet", "label_accuracy", "coverage", "recall", "precision"] = "frechet"
    min_accuracy: float = 0.0
    num_samples: int = 1000
    root: str = ""
    val_root: str = ""
    out: str = ""
    save: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.lists()
        need(0 <= self.min_accuracy <= 1, "min_accuracy", self.min_accuracy, "give a share in [0, 1], such as 0.9")
        need(20 <= self.num_samples <= 1_000_000, "num_samples", self.num_samples, "give 20 to 1000000")
        if self.out:
            folder_to_write(self.out)

    def lists(self) -> dict[str, list]:
        """The values to try by the names of settings, checked one by one."""
        lists: dict[str, list] = {"sampler": sampler_names(self.samplers), "steps": numbers("steps", self.steps, int)}
        for name in ("temperature", "guidance", "eta", "gumbel"):
            text = getattr(self, name)
            if text is not None:
                lists[name] = numbers(name, text, float)
        for name, values in lists.items():
            for value in values:
                if name in SHARED:
                    SamplingConfig(**{name: value})
                elif name != "sampler":
                    check_for_some(name, value, [owner for owner in owners(name) if owner in lists["sampler"]])
        return lists


def check_for_some(name: str, value: float, samplers: list[str]) -> None:
    """Raises ConfigError for a value of a sampler's own setting that none of the samplers takes; those that do not take it are skipped later."""
    for number, sampler in enumerate(samplers, 1):
        try:
            make_sampler(sampler, **{name: value})
            return
        except ConfigError:
            if number == len(samplers):
                raise


def sampler_names(text: str) -> list[str]:
    """Names out of ``confidence,ancestral`` or ``all``, each once."""
    if text.strip() == "all":
        return list(SAMPLERS)
    names = [name.strip() for name in text.split(",")]
    for name in names:
        need(name in SAMPLERS, "samplers", name, f"use all, or some of {', '.join(SAMPLERS)}{near(name, SAMPLERS)}")
    return list(dict.fromkeys(names))


def numbers(name: str, text: str, kind: Callable[[str], float]) -> list:
    """Values out of ``0.8,1``, each once."""
    whole, such = ("whole ", "8,16,32") if kind is int else ("", "0.8,1")
    try:
        return list(dict.fromkeys(kind(part) for part in text.split(",")))
    except ValueError:
        raise ConfigError(name, text, f"give {whole}numbers separated by commas, such as {such}") from None


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image tune`` and run it. Raises ConfigError for wrong input."""
    run(parse("tune", Tune, arguments, {"model": "Model folder, or the run that trained it; trained on images with classes."}))


def run(args: Tune) -> None:
    """Measure, print, draw, write and save.

    Raises:
        ConfigError: wrong input, a model without classes, settings of which none fits, or no winner.
    """
    from ..bundle import own_model, set_default_sampler

    place = own_model(args.model).resolve()
    folder = Path(args.out).expanduser() if args.out else results_folder(place)
    tried, skipped, results = search(args, place, folder)
    rows = ranked([(c, results.find(c) or {}) for c in tried], args.metric)
    winner = next((row for row in rows if METRICS[args.metric] in row[1] and accuracy(row) >= args.min_accuracy), None)
    print(table(rows, skipped, results.find(None) or {}, args, winner))
    results.write(summary(args, rows, skipped, winner))
    chart = draw(rows, args, winner, folder / "tune.png")
    print(f"\nall figures: {printable(folder / 'tune.json', 0)}\nquality over network calls: {printable(chart, 0)}")
    if winner is None:
        hint = f"no setting reaches it, the best has {max(map(accuracy, rows)):g}; nothing was saved"
        raise ConfigError("min_accuracy", args.min_accuracy, hint)
    setting, figures = winner
    if args.save:
        set_default_sampler(place, *setting, {"tuned": chosen(args, figures)})
    print(f"{'saved as the default of ' + printable(args.model) if args.save else 'best, not saved'}: {as_options(setting)}")


def results_folder(place: Path) -> Path:
    """Where the figures of a model go: ``tune`` beside the model of a run, ``NAME-tune`` beside a folder of another name."""
    return place.with_name("tune" if place.name == "model" else f"{place.name}-tune")


def search(args: Tune, place: Path, folder: Path) -> tuple[list[Setting], list[Any], Any]:
    """Check everything, then measure what has not been measured yet."""
    from ..data.images import ImageSet
    from ..data.sources import open_source
    from ..evaluation.samples import Judge, as_trained, remembered_data
    from ..evaluation.sweep import Results, combine, measure_all, model_sha256, with_present

    device = pick_device(args.device)
    pipe = args.pipeline(place)
    hint = "was trained without classes; samples are judged by a classifier of the training images, so tune needs a labelled data set"
    need(bool(pipe.class_names), "model", args.model, hint)
    settings, skipped = combine(args.lists(), pipe)
    need(bool(settings), "samplers", args.samplers, f"no combination fits this model ({skipped[0].reason})" if skipped else "")
    settings = with_present(settings, (pipe.sampler, pipe.sampling))
    data = remembered_data(pipe.facts, args.model, args.root, args.val_root)
    train, held_out = (as_trained(open_source(data, held_out=held), pipe.class_names) for held in (False, True))
    conditions = {
        "model_sha256": model_sha256(place), "data": f"{train.fingerprint} {held_out.fingerprint}", "num_samples": args.num_samples,
        "seed": args.seed, "precision": args.precision, "device": device,
    }  # fmt: skip
    results = Results(folder / "tune.json", conditions)
    try:
        measure_all(pipe, settings, results, lambda: Judge(train, data, ImageSet(held_out, data), pipe.class_names), args.batch_size)
    except KeyboardInterrupt:
        done = sum(results.find(setting) is not None for setting in settings)
        print(f"\nstopped: {done} of {len(settings)} settings are measured; the same command goes on from there", file=sys.stderr)
        raise
    return settings, skipped, results


def accuracy(row: Row) -> float:
    """Share of a setting's samples that show the class that was asked for."""
    return row[1].get("label_accuracy", 0.0)


def ranked(rows: list[Row], metric: str) -> list[Row]:
    """Best first; of equal values the one with fewer network calls, and what has no value last."""
    sign = 1 if metric == "frechet" else -1

    def key(row: Row) -> tuple[float, float]:
        value = row[1].get(METRICS[metric])
        return (float("inf") if value is None else sign * value, row[1].get("calls_per_image", 0))

    return sorted(rows, key=key)


def table(rows: list[Row], skipped: list[Any], real: dict[str, float], args: Tune, winner: Row | None) -> str:
    """All settings, the best first, then the real images, then what was skipped."""
    names = [args.metric, *(name for name in METRICS if name != args.metric)]
    settings = ("sampler", "steps", "temperature", "guidance", "eta", "gumbel")
    lines = [[*names, "calls", "seconds", *settings, ""]]

    def figures(found: dict[str, float]) -> list[str]:
        values = [found.get(METRICS[name]) for name in names]
        rest = [found.get("calls_per_image"), found.get("seconds")]
        return [*("-" if v is None else f"{v:.4f}" for v in values), *("-" if v is None else f"{v:.1f}" for v in rest)]

    for setting, found in rows:
        values = [str(flat(*setting).get(name, "-")) for name in settings]
        short = accuracy((setting, found)) < args.min_accuracy
        note = "best" if winner and setting is winner[0] else f"accuracy under {args.min_accuracy:g}" if short else ""
        lines.append([*figures(found), *values, note])
    lines.append([*figures(real), "real images", *"-" * 5, "the values to reach"])
    lines += [[*"-" * 7, item.sampler, str(item.steps), *"-" * 4, f"skipped: {item.reason}"] for item in skipped]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    return "\n".join("  ".join([*(f"{cell:>{width}}" for cell, width in zip(line, widths)), line[-1]]).rstrip() for line in lines)


def chosen(args: Tune, figures: dict[str, float]) -> dict:
    """What is remembered of a choice."""
    facts = {"metric": args.metric, "value": figures.get(METRICS[args.metric]), "min_accuracy": args.min_accuracy}
    facts |= {name: figures.get(name) for name in ("label_accuracy", "calls_per_image")}
    return facts | {"num_samples": args.num_samples, "seed": args.seed, "precision": args.precision}


def summary(args: Tune, rows: list[Row], skipped: list[Any], winner: Row | None) -> dict:
    """What was asked, chosen, ranked and skipped, for the head of tune.json."""
    from dataclasses import asdict

    return {
        "model": args.model,
        "asked": args.lists() | {"metric": args.metric, "min_accuracy": args.min_accuracy},
        "best": None if winner is None else {"settings": flat(*winner[0]), **chosen(args, winner[1])},
        "ranking": [{"settings": flat(*setting), "figures": figures} for setting, figures in rows],
        "skipped": [asdict(item) for item in skipped],
    }


def draw(rows: list[Row], args: Tune, winner: Row | None, path: Path) -> Path:
    """The chosen measure over network calls, a series a sampler; nothing where nothing has a value. Returns the file."""
    from ..imaging import save_image
    from ..visualization.curves import draw_chart

    def point(figures: dict[str, float]) -> tuple[float, float]:
        return figures["calls_per_image"], figures[METRICS[args.metric]]

    shown = [(sampler.name, figures) for (sampler, _), figures in rows if METRICS[args.metric] in figures]
    series: dict[str, list] = {name: [] for name in SAMPLERS if any(other == name for other, _ in shown)}
    for name, figures in shown:
        series[name].append(point(figures))
    if series:
        words = "Frechet distance (lower is better)" if args.metric == "frechet" else f"{args.metric.replace('_', ' ')} (higher is better)"
        title = f"{args.num_samples} images a setting, seed {args.seed}"
        best = point(winner[1]) if winner else None
        with new_files(path, args.overwrite) as files:
            save_image(draw_chart(series, title, "network calls an image", words, args.metric == "frechet", best), files.draft)
        return files.path
    return path


def as_options(setting: Setting) -> str:
    """The tried settings as ``generate`` takes them."""
    values = flat(*setting)
    return " ".join(
        f"--{name} {values[name]}" for name in ("sampler", "steps", "temperature", "guidance", "eta", "gumbel") if name in values
    )
