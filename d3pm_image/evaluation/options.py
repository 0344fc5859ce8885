"""Settings of evaluations and of searches for sampler settings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..config import ConfigError, SamplingConfig, check, closest_match
from ..config.editing import HIDDEN
from ..config.running import OutputOptions, RunKeywords, RunOptions
from ..config.worded import worded
from ..sampling import SAMPLERS
from ..sampling.choice import SHARED, make_sampler

METRICS = {
    "frechet": "frechet_distance",
    "label_accuracy": "label_accuracy",
    "coverage": "coverage",
    "recall": "recall",
    "precision": "precision",
}
"""Measures that ``tune`` can choose by, and their names in result files."""
TRIED = ("steps", "temperature", "guidance", "eta", "gumbel")
"""Settings whose values ``tune`` tries, besides the sampler."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Measure a trained model on held-out images.

    Args:
        model: Model or tokenizer folder, or the run that trained it.
        root: Folder of the data set, if it is not the one that the model was trained on.
        val_root: Folder of the held-out images, if the model was trained with such a folder and it has moved.
        likelihood: Also measure the variational bound of held-out images, in bits per code.
        draws: Noise levels per image for the bound; more make its standard error smaller.
        reconstruction_distance: Also measure the Fréchet distance of reconstructions to the originals: for
            images with classes in the features of a classifier of them, which is trained once; for others in
            those of EfficientNet-Lite0, if it is installed. It is not the published FID.
        worst: Image of the held-out images with the largest error, each above its reconstruction; empty for
            none.
        num_samples: Images to generate; 0 evaluates the tokenizer alone.
        features: Features in which images are compared: train (a classifier of the model's own training
            images, trained once and kept), efficientnet (EfficientNet-Lite0 from a package), inception (the
            network of published FIDs, from torch-fidelity), or auto: train where there are classes, else
            efficientnet.
        features_weights: Weight file of inception; without it torch-fidelity may download it, if download is
            true.
        download: Let torch-fidelity download the weights of inception.
        reference: Real images that samples are compared with: held_out, or training, as many published FIDs
            do.
        inpaint: Also measure how the model completes held-out images, as many as samples, of which a region
            is hidden: half (one half), box (a box), strokes (brush strokes), or several with commas between;
            empty for none.
        neighbours: Image of the samples that are nearest to a training image, each above that image, and
            memorization metrics; empty for none.
        samples: Image of the first 64 samples; empty for none.
        out: JSON file for the measures; empty only prints them.
    """

    model: str
    root: str = ""
    val_root: str = ""
    likelihood: bool = False
    draws: int = 4
    reconstruction_distance: bool = True
    worst: str = ""
    num_samples: int = 1000
    features: Literal["auto", "train", "efficientnet", "inception"] = "auto"
    features_weights: str = ""
    download: bool = False
    reference: Literal["held_out", "training"] = "held_out"
    inpaint: str = ""
    neighbours: str = ""
    samples: str = ""
    out: str = ""

    def __post_init__(self) -> None:
        check(1 <= self.draws <= 1000, "draws", self.draws, "give 1 to 1000 noise levels per image")
        unread = self.features != "inception" and (self.features_weights or self.download)
        hint = "only inception reads weights of its own; add --features inception"
        check(not unread, "features_weights", self.features_weights, hint)
        for name in ("neighbours", "samples"):
            hint = "there are no samples with num_samples=0"
            check(not getattr(self, name) or self.num_samples > 0, name, getattr(self, name), hint)
        for name in self.regions():
            hint = f"use some of {', '.join(HIDDEN)}, with commas between{closest_match(name, HIDDEN)}"
            check(name in HIDDEN, "inpaint", name, hint)
        hint = "completes as many held-out images as num_samples says, which is 0; give it 20 or more"
        check(not self.inpaint or self.num_samples > 0, "inpaint", self.inpaint, hint)
        hint = "give 0, or 20 to 1000000"
        check(
            self.num_samples == 0 or 20 <= self.num_samples <= 1_000_000,
            "num_samples",
            self.num_samples,
            hint,
        )

    def regions(self) -> list[str]:
        """The regions of ``inpaint``, each once."""
        return list(dict.fromkeys(part.strip() for part in self.inpaint.split(","))) if self.inpaint else []


@dataclass(frozen=True, kw_only=True)
class Evaluation(EvaluateOptions, RunOptions, OutputOptions):
    """An evaluation: what is measured, what it runs on, and settings of the sampler other than the model's
    own.

    Args:
        sampler: Settings of the sampler by name.
    """

    sampler: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        EvaluateOptions.__post_init__(self)
        RunOptions.__post_init__(self)
        for name, options in (
            ("features", ("auto", "train", "efficientnet", "inception")),
            ("reference", ("held_out", "training")),
        ):
            hint = f"use one of {', '.join(options)}"
            check(getattr(self, name) in options, name, getattr(self, name), hint)

    def changes(self) -> dict[str, Any]:
        """The settings of the sampler that were given, by name."""
        return dict(self.sampler)


class EvaluateSettings(RunKeywords, total=False):
    """Keyword arguments of :func:`~d3pm_image.evaluation.evaluate.evaluate`, which :class:`Evaluation`
    explains."""

    root: str | os.PathLike[str]
    val_root: str | os.PathLike[str]
    likelihood: bool
    draws: int
    reconstruction_distance: bool
    worst: str | os.PathLike[str]
    num_samples: int
    features: Literal["auto", "train", "efficientnet", "inception"]
    features_weights: str | os.PathLike[str]
    download: bool
    reference: Literal["held_out", "training"]
    inpaint: str | Sequence[str]
    neighbours: str | os.PathLike[str]
    samples: str | os.PathLike[str]
    out: str | os.PathLike[str]
    steps: int
    temperature: float
    guidance: float
    eta: float


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How a search for the best sampler settings chooses, and where its results go.

    Args:
        model: Model folder, or the run that trained it; trained on images with classes.
        metric: What to choose by: frechet (distance to held-out images, lower is better), label_accuracy,
            coverage, recall or precision (higher is better). Equal values: fewer network calls win.
        min_accuracy: Choose only among settings with at least this label accuracy; 0 is off.
        num_samples: Images per setting. The Fréchet distance decreases with their number, so compare equal
            numbers only.
        root: Folder of the data set, if it is not the one that the model was trained on.
        val_root: Folder of the held-out images, if the model was trained with such a folder and it has moved.
        out: Folder for tune.json (all results; a later search adds its own) and tune.png (quality over
            network calls). Default: tune in the run's folder, beside its model; for a model folder elsewhere
            NAME-tune beside it.
        save: Make the winner the model's default sampler.
    """

    model: str
    metric: Literal["frechet", "label_accuracy", "coverage", "recall", "precision"] = "frechet"
    min_accuracy: float = worded(0.0, "off")
    num_samples: int = 1000
    root: str = ""
    val_root: str = ""
    out: str = ""
    save: bool = True

    def __post_init__(self) -> None:
        check(self.metric in METRICS, "metric", self.metric, f"use one of {', '.join(METRICS)}")
        hint = "give a share in [0, 1], such as 0.9"
        check(0 <= self.min_accuracy <= 1, "min_accuracy", self.min_accuracy, hint)
        check(20 <= self.num_samples <= 1_000_000, "num_samples", self.num_samples, "give 20 to 1000000")


@dataclass(frozen=True, kw_only=True)
class Tuning(TuneOptions, RunOptions, OutputOptions):
    """A search: the values to try, and what it runs on.

    Args:
        samplers: Samplers to try; those that do not fit the model are skipped with a note.
        steps: Numbers of steps to try.
        temperature: Temperatures to try; empty for the model's own, as for every setting.
        guidance: Guidance weights to try; 1 is off and costs half the network calls.
        eta: Values of eta to try with the samplers that have it.
        gumbel: Values of gumbel to try with the samplers that have it.
    """

    samplers: tuple[str, ...] = ("confidence", "ancestral", "ctmc", "remask")
    steps: tuple[int, ...] = (8, 16, 32)
    temperature: tuple[float, ...] = ()
    guidance: tuple[float, ...] = (1.0, 1.5, 2.0)
    eta: tuple[float, ...] = ()
    gumbel: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        TuneOptions.__post_init__(self)
        RunOptions.__post_init__(self)
        check(bool(self.samplers), "samplers", self.samplers, f"use some of {', '.join(SAMPLERS)}")
        check(bool(self.steps), "steps", self.steps, "give numbers of steps, such as 8 and 16")
        for name in self.samplers:
            hint = f"use all, or some of {', '.join(SAMPLERS)}{closest_match(name, SAMPLERS)}"
            check(name in SAMPLERS, "samplers", name, hint)
        for name, values in self.lists().items():
            for value in values:
                if name in SHARED:
                    SamplingConfig(**{name: value})
                elif name != "sampler":
                    check_for_some(
                        name, value, [owner for owner in SAMPLERS.owners(name) if owner in self.samplers]
                    )

    def lists(self) -> dict[str, list[Any]]:
        """The values to try by the names of settings, each once."""
        values = {"sampler": self.samplers, **{name: getattr(self, name) for name in TRIED}}
        return {name: list(dict.fromkeys(given)) for name, given in values.items() if given}


def check_for_some(name: str, value: float, samplers: list[str]) -> None:
    """Raises ConfigError for a value of a sampler's own setting that none of the samplers accepts; those that
    do not accept it are skipped later."""
    for number, sampler in enumerate(samplers, 1):
        try:
            make_sampler(sampler, **{name: value})
            return
        except ConfigError:
            if number == len(samplers):
                raise


class TuneSettings(RunKeywords, total=False):
    """Keyword arguments of :func:`~d3pm_image.evaluation.tune.tune`, which :class:`Tuning` explains."""

    samplers: Sequence[str]
    steps: Sequence[int]
    temperature: Sequence[float]
    guidance: Sequence[float]
    eta: Sequence[float]
    gumbel: Sequence[float]
    metric: Literal["frechet", "label_accuracy", "coverage", "recall", "precision"]
    min_accuracy: float
    num_samples: int
    root: str | os.PathLike[str]
    val_root: str | os.PathLike[str]
    out: str | os.PathLike[str]
    save: bool
