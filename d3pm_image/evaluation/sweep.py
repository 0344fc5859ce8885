"""A sweep of sampler settings: the combinations, the measures of their samples, and a file that keeps the
results."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ..config import ConfigError, SamplingConfig
from ..documents import read_json
from ..sampling import SAMPLERS
from ..sampling.choice import SHARED, Setting, flat, migrated
from ..sampling.request import SamplerStep
from ..storage import sha256, write_text
from ..tokenizer.folder import find, read_config
from .samples import SampleEvaluator, draw_images

if TYPE_CHECKING:
    from ..pipeline import Pipeline

FORMAT, VERSION = "d3pm-image-tune", 1


def calls_expected(config: SamplingConfig) -> int:
    """Network calls per image, at most."""
    return (config.steps + config.correct_steps) * (1 if config.guidance == 1 else 2)


@dataclass(frozen=True)
class Skipped:
    """Settings that do not fit the model, and why."""

    sampler: str
    steps: int
    reason: str


def combine(lists: dict[str, list], pipe: Pipeline) -> tuple[list[Setting], list[Skipped]]:
    """Every combination of the listed settings that fits a model, once, and those that do not.

    Args:
        lists: Values by the names of settings, including sampler and steps. Other settings are the model's
            own; a sampler without a listed setting is tried once.
    """
    fitting: dict[Setting, None] = {}
    skipped: dict[Skipped, None] = {}
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        own = SAMPLERS[chosen["sampler"]].types()
        try:
            request = pipe.request(
                **{
                    name: value
                    for name, value in chosen.items()
                    if name in own or name in ("sampler", *SHARED)
                }
            )
            request.check_fit(pipe.process, pipe.grid)
        except ConfigError as error:
            skipped[Skipped(chosen["sampler"], chosen["steps"], str(error))] = None
            continue
        fitting[request.sampler, request.sampling] = None
    return list(fitting), list(skipped)


def with_present(settings: list[Setting], present: Setting) -> list[Setting]:
    """The present settings before all others, so that a search does not replace them by something worse."""
    return [present, *(one for one in settings if one != present)]


def model_sha256(folder: Path) -> str:
    """Hash of all that decides a model's samples but the sampler: weights, tokenizer, process, classes."""
    place = find(folder, "pipeline", "model")
    raw = read_config(place, "model")
    parts = {name: raw.get(name) for name in ("process", "class_names", "tokenizer_sha256")}
    parts |= {
        "denoiser": read_config(place / "denoiser", "model"),
        "weights": sha256(place / "denoiser" / "model.safetensors"),
    }
    return digest(parts)


def digest(parts: dict[str, Any]) -> str:
    """Hash of JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Results:
    """The results so far, in a JSON file that is complete after each of them.

    Args:
        path: The file; entries of other models, seeds and numbers of samples in it are kept. None keeps them
            in memory.
        conditions: Everything that the results depend on besides the sampler's settings.

    Raises:
        ConfigError: a file of another kind.
    """

    def __init__(self, path: Path | None, conditions: dict[str, Any]):
        self.path, self.conditions = path, conditions
        self.entries: list[dict[str, Any]] = []
        if path is not None and path.exists():
            try:
                raw = read_json(path)
                if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                    raise ValueError("another format")
                self.entries = [
                    {"conditions": e["conditions"], "settings": e["settings"], "figures": e["figures"]}
                    for e in raw["entries"]
                ]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    "out", str(path), f"is not a file of this command ({error}); move it away"
                ) from error

    def find(self, setting: Setting | None) -> dict[str, Any] | None:
        """Results under the same conditions; key None for the real images."""
        for entry in self.entries:
            if entry["conditions"] == self.conditions and self.same(entry["settings"], setting):
                return entry["figures"]
        return None

    @staticmethod
    def same(values: dict[str, Any] | None, setting: Setting | None) -> bool:
        """Whether stored values, of this version or of 0.1.0, are those of a setting; None stands for real
        images."""
        if values is None or setting is None:
            return values is setting
        try:
            return migrated(values) == setting
        except (ConfigError, TypeError):  # of a version with other settings
            return False

    def add(self, setting: Setting | None, figures: dict[str, Any]) -> None:
        """Store the results of a setting, or of real images, on disk at once."""
        values = None if setting is None else flat(*setting)
        self.entries.append({"conditions": self.conditions, "settings": values, "figures": figures})
        self.write({})

    def write(self, summary: dict[str, Any]) -> None:
        """Write all entries, after a summary of what was asked and chosen."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"format": FORMAT, "version": VERSION, **summary, "entries": self.entries}, indent=1
        )
        write_text(self.path, text + "\n")


class Meter:
    """A callback that counts the network calls of all batches for a progress bar, per image."""

    def __init__(self, bar: tqdm, samples: int):
        self.bar, self.samples, self.calls, self.before = bar, samples, 0, 0

    def __call__(self, frame: SamplerStep) -> None:
        # a batch counts from 0
        new = frame.calls - self.before if frame.calls >= self.before else frame.calls
        self.before, self.calls = frame.calls, self.calls + new
        self.bar.update(new / self.samples)


def measure(
    pipe: Pipeline, evaluator: SampleEvaluator, setting: Setting, conditions: dict, batch_size: int, bar: tqdm
) -> dict[str, float]:
    """Measures of one setting's samples, without NaN."""
    samples = conditions["num_samples"]
    meter, began = Meter(bar, samples), time.perf_counter()
    images, labels = draw_images(pipe, samples, conditions["seed"], batch_size, flat(*setting), meter)
    seconds = time.perf_counter() - began
    bar.update(calls_expected(setting[1]) - meter.calls / samples)
    found = evaluator.measure(images, labels)
    figures = {"label_accuracy": found["label_accuracy"], **found["fidelity"]}
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    return {**figures, "calls_per_image": round(meter.calls / samples, 3), "seconds": round(seconds, 2)}


def measure_all(
    pipe: Pipeline,
    settings: Iterable[Setting],
    results: Results,
    make_evaluator: Callable[[], SampleEvaluator],
    batch_size: int,
) -> None:
    """Measure what is not yet among the results; nothing is loaded if nothing is missing."""
    missing = [setting for setting in settings if results.find(setting) is None]
    if not missing and results.find(None) is not None:
        return
    evaluator = make_evaluator()
    if results.find(None) is None:
        real = {
            "label_accuracy": evaluator.accuracy,
            **evaluator.measure_real(results.conditions["num_samples"]),
        }
        results.add(None, {name: value for name, value in real.items() if math.isfinite(value)})
    form = "{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left"
    with tqdm(
        total=sum(calls_expected(sampling) for _, sampling in missing), bar_format=form, mininterval=0.5
    ) as bar:
        for number, setting in enumerate(missing, 1):
            bar.set_description_str(
                f"setting {number} of {len(missing)}: {setting[0].name}, {setting[1].steps} steps"
            )
            results.add(setting, measure(pipe, evaluator, setting, results.conditions, batch_size, bar))
