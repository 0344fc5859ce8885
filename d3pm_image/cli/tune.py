"""``d3pm-image tune MODEL``: a parser over :func:`d3pm_image.tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..config import ConfigError
from ..config.running import OutputOptions, RunOptions
from ..evaluation.options import TRIED, TuneOptions, Tuning
from ..outputs import folder_to_write
from ..parser import parse
from ..printable import printable
from ..sampling import SAMPLERS


def listed(name: str) -> str:
    """The default of a list of values, as it is typed."""
    return ",".join(
        f"{value:g}" if isinstance(value, float) else str(value) for value in getattr(Tuning, name)
    )


@dataclass(frozen=True, kw_only=True)
class Tune(TuneOptions, RunOptions, OutputOptions):
    """Find the sampler settings with which a trained model's images are best, compared with held-out images,
    and make them its default. The present settings and every combination of the listed values are measured
    once; the results are kept, so that the same command continues an interrupted search.

    Args:
        samplers: Samplers to try, separated by commas, or all; those that do not fit the model are skipped
            with a note.
        steps: Numbers of steps to try, separated by commas.
        temperature: Temperatures to try, separated by commas. Default: the model's own, as for every setting
            that is not listed.
        guidance: Guidance weights to try, separated by commas; 1 is off and costs half the network calls.
        eta: Values of eta to try with the samplers that read it, separated by commas.
        gumbel: Values of gumbel to try with the samplers that read it, separated by commas.

    Example:
        d3pm-image tune runs/photos/diffusion --num-samples 500
    """

    samplers: str = listed("samplers")
    steps: str = listed("steps")
    temperature: str | None = None
    guidance: str = listed("guidance")
    eta: str | None = None
    gumbel: str | None = None

    def __post_init__(self) -> None:
        RunOptions.__post_init__(self)
        TuneOptions.__post_init__(self)
        self.tuning()
        if self.out:
            folder_to_write(self.out)

    def tuning(self) -> Tuning:
        """The same request with texts parsed as lists."""
        texts = {name: text for name in TRIED if (text := getattr(self, name)) is not None}
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values |= dict.fromkeys(TRIED, ()) | {"samplers": sampler_names(self.samplers)}
        values |= {
            name: numbers(name, text, int if name == "steps" else float) for name, text in texts.items()
        }
        return Tuning(**values)


def sampler_names(text: str) -> tuple[str, ...]:
    """Names from ``confidence,ancestral`` or ``all``."""
    return tuple(SAMPLERS) if text.strip() == "all" else tuple(name.strip() for name in text.split(","))


def numbers(name: str, text: str, kind: Callable[[str], float]) -> tuple[Any, ...]:
    """Values from ``0.8,1``."""
    whole, such = ("whole ", "8,16,32") if kind is int else ("", "0.8,1")
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(name, text, f"give {whole}numbers separated by commas, such as {such}") from None


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image tune``, search and print. Raises ConfigError for wrong input."""
    positionals = {"model": "Model folder, or the run that trained it; trained on images with classes."}
    args = parse("tune", Tune, arguments, positionals)
    from ..evaluation.tune import as_options, search

    found = search(args.tuning())
    print(found)
    if found.figures_file is not None:
        print(f"\nall figures: {printable(found.figures_file, 0)}")
    if found.chart is not None:
        print(f"quality over network calls: {printable(found.chart, 0)}")
    best = found.winning
    print(
        f"{'saved as the default of ' + printable(args.model) if args.save else 'best, not saved'}:"
        f" {as_options(best)}"
    )
