"""A sweep of sampler settings: which there are, what each one's samples measure, and a file that keeps what was measured."""

from __future__ import annotations

import dataclasses
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

from ..config import ConfigError, SamplerConfig
from ..documents import read_json
from ..sampling import Frame, make_rule
from ..sampling.correct import check_correctable
from ..sampling.rules import settings_of_rules, settings_read
from ..storage import sha256, write_text
from ..tokenizer.folder import find, read_config
from .samples import Judge, draw_images

if TYPE_CHECKING:
    from ..pipeline import Pipeline

FORMAT, VERSION = "d3pm-image-tune", 1


def rule_settings(config: SamplerConfig) -> dict[str, Any]:
    """What the step rule of a configuration has taken from it, under the rule's own names."""
    rule = make_rule(config)
    return {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)} if dataclasses.is_dataclass(rule) else {}


def reads(sampler: str, setting: str) -> bool:
    """Whether a sampler reads eta, or gumbel."""
    return setting in settings_read(SamplerConfig(sampler=sampler))


def identity(config: SamplerConfig) -> str:
    """The settings that make a difference, as text: those that all samplers share and those that its own rule reads."""
    own = settings_of_rules()
    shared = {name: value for name, value in dataclasses.asdict(config).items() if name not in own}
    return json.dumps({**shared, "rule": rule_settings(config)}, sort_keys=True)


def calls_expected(config: SamplerConfig) -> int:
    """Network calls an image, at most."""
    return (config.steps + config.correct_steps) * (1 if config.guidance == 1 else 2)


@dataclass(frozen=True)
class Skipped:
    """Settings that do not fit the model, and why."""

    sampler: str
    steps: int
    reason: str


def combine(lists: dict[str, list], pipe: Pipeline) -> tuple[list[SamplerConfig], list[Skipped]]:
    """Every combination of the listed settings that fits a model, once, and those that do not.

    Args:
        lists: Values by the names of SamplerConfig's fields, sampler and steps among them; what is not named is the model's own.
    """
    tokens = pipe.grid[0] * pipe.grid[1]
    fitting: dict[str, SamplerConfig] = {}
    skipped: dict[Skipped, None] = {}
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        unread = [name for name in ("eta", "gumbel") if name in chosen and not reads(chosen["sampler"], name)]
        try:
            config = pipe.sampler.changed(**{k: v for k, v in chosen.items() if k not in unread})
            make_rule(config).check(pipe.process, tokens, config.steps)
            check_correctable(pipe.process, config.correct_steps)
        except ConfigError as error:
            skipped[Skipped(chosen["sampler"], chosen["steps"], str(error))] = None
            continue
        fitting.setdefault(identity(config), config)
    return list(fitting.values()), list(skipped)


def with_present(configs: list[SamplerConfig], present: SamplerConfig) -> list[SamplerConfig]:
    """The present settings before all others, so that a search does not replace them by something worse."""
    return [present, *(config for config in configs if identity(config) != identity(present))]


def model_sha256(folder: Path) -> str:
    """Hash of all that decides a model's samples but the sampler: weights, tokenizer, process, classes."""
    place = find(folder, "pipeline", "model")
    raw = read_config(place, "model")
    parts = {name: raw.get(name) for name in ("process", "class_names", "tokenizer_sha256")}
    parts |= {"denoiser": read_config(place / "denoiser", "model"), "weights": sha256(place / "denoiser" / "model.safetensors")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Results:
    """The figures measured so far, in a JSON file that is whole after every one of them.

    Args:
        path: The file; entries of other models, seeds and numbers of samples in it are kept.
        conditions: What the figures depend on besides the sampler's settings.

    Raises:
        ConfigError: a file of another kind.
    """

    def __init__(self, path: Path, conditions: dict[str, Any]):
        self.path, self.conditions = path, conditions
        self.entries: list[dict[str, Any]] = []
        if path.exists():
            try:
                raw = read_json(path)
                if (raw["format"], raw["version"]) != (FORMAT, VERSION):
                    raise ValueError("another format")
                self.entries = [{"conditions": e["conditions"], "settings": e["settings"], "figures": e["figures"]} for e in raw["entries"]]
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ConfigError("out", str(path), f"is no file of this command ({error}); move it away") from error

    def find(self, config: SamplerConfig | None) -> dict[str, Any] | None:
        """Figures measured under the same conditions; None of the real images."""
        for entry in self.entries:
            if entry["conditions"] == self.conditions and self.same(entry["settings"], config):
                return entry["figures"]
        return None

    @staticmethod
    def same(settings: dict[str, Any] | None, config: SamplerConfig | None) -> bool:
        """Whether stored settings are those of a configuration; None stands for real images."""
        if settings is None or config is None:
            return settings is config
        try:
            return identity(SamplerConfig(**settings)) == identity(config)
        except (ConfigError, TypeError):  # of a version with other settings
            return False

    def add(self, config: SamplerConfig | None, figures: dict[str, Any]) -> None:
        """Store the figures of a configuration, or of real images, on disk at once."""
        settings = None if config is None else dataclasses.asdict(config)
        self.entries.append({"conditions": self.conditions, "settings": settings, "figures": figures})
        self.write({})

    def write(self, summary: dict[str, Any]) -> None:
        """Write all entries, after a summary of what was asked and chosen."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"format": FORMAT, "version": VERSION, **summary, "entries": self.entries}, indent=1)
        write_text(self.path, text + "\n")


class Meter:
    """A watch that counts the network calls of all batches, an image's share of which moves a bar."""

    def __init__(self, bar: tqdm, samples: int):
        self.bar, self.samples, self.calls, self.before = bar, samples, 0, 0

    def __call__(self, frame: Frame) -> None:
        new = frame.calls - self.before if frame.calls >= self.before else frame.calls  # a batch counts from 0
        self.before, self.calls = frame.calls, self.calls + new
        self.bar.update(new / self.samples)


def measure(pipe: Pipeline, judge: Judge, config: SamplerConfig, conditions: dict, batch_size: int, bar: tqdm) -> dict[str, float]:
    """Figures of one setting's samples; those that are not a number are left out."""
    samples = conditions["num_samples"]
    meter, began = Meter(bar, samples), time.perf_counter()
    images, labels = draw_images(pipe, samples, conditions["seed"], batch_size, dataclasses.asdict(config), meter)
    seconds = time.perf_counter() - began
    bar.update(calls_expected(config) - meter.calls / samples)
    found = judge.measure(images, labels)
    figures = {"label_accuracy": found["label_accuracy"], **found["fidelity"]}
    figures = {name: value for name, value in figures.items() if math.isfinite(value)}
    return {**figures, "calls_per_image": round(meter.calls / samples, 3), "seconds": round(seconds, 2)}


def measure_all(
    pipe: Pipeline, configs: Iterable[SamplerConfig], results: Results, make_judge: Callable[[], Judge], batch_size: int
) -> None:
    """Measure what is not yet among the results; nothing is prepared where nothing is missing."""
    missing = [config for config in configs if results.find(config) is None]
    if not missing and results.find(None) is not None:
        return
    judge = make_judge()
    if results.find(None) is None:
        real = {"label_accuracy": judge.accuracy, **judge.measure_real(results.conditions["num_samples"])}
        results.add(None, {name: value for name, value in real.items() if math.isfinite(value)})
    form = "{desc} {percentage:3.0f}%|{bar:30}| {elapsed}, {remaining} left"
    with tqdm(total=sum(map(calls_expected, missing)), bar_format=form, mininterval=0.5) as bar:
        for number, config in enumerate(missing, 1):
            bar.set_description_str(f"setting {number} of {len(missing)}: {config.sampler}, {config.steps} steps")
            results.add(config, measure(pipe, judge, config, results.conditions, batch_size, bar))
