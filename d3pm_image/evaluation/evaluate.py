"""Measures of a tokenizer or a whole model, on held-out images."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from ..config import ConfigError, DataConfig, check, closest_match
from ..data.images import ImageSet
from ..data.objects import GivenImages
from ..data.sources import open_source
from ..devices import pick_device
from ..imaging import check_ending
from ..pipeline import Pipeline
from ..pixel_range import has_alpha
from ..provenance.record import HasWeights
from ..recipes.arguments import data_settings, filled
from ..recipes.images import announce
from ..sampling import SAMPLERS
from ..sampling.choice import SHARED
from ..tokenizer import Pixels, load_tokenizer
from ..tokenizer.folder import OWN
from ..training.launch import place_among_processes
from ..types import Tokenizer
from .generate_samples import Drawn, draw
from .inpainting import check_inpainting, evaluate_inpainting
from .options import EvaluateSettings, Evaluation, Tuning
from .report import evaluate_samples, save_report, write_figures
from .samples import SampleEvaluator, as_trained, remembered_data

if TYPE_CHECKING:
    from ..data.objects import Data
    from ..metrics.feature_extractor import FeatureSpace
    from .reconstruction import Space

PARTS_IN_BITS = ("reconstruction", "prior", "diffusion", "standard_error")
IN_MEMORY = "(in memory)"


def evaluate(
    model: str | os.PathLike[str] | Pipeline | Tokenizer,
    data: Data | None = None,
    *,
    sampler: str | Mapping[str, Any] | None = None,
    **settings: Unpack[EvaluateSettings],
) -> dict[str, Any]:
    """Measure a model or a tokenizer on held-out images; ``evaluate(pipe,
    num_samples=1000)["samples"]["fidelity"]``.

    Of several processes (torchrun) all draw samples, and the first one measures them.

    Args:
        model: A pipeline, a tokenizer, or the folder, run or name of one.
        data: Images, as :func:`~d3pm_image.recipes.tokenizer.train_tokenizer` takes them. Default: those that
            the model was trained on.
        sampler: A sampler by name, or settings of the sampler by name. Default: the model's own.
        settings: See :class:`~d3pm_image.evaluation.options.Evaluation`; settings of the sampler may be given
            here as well.

    Returns:
        The measures, as in the JSON file; nothing on all processes but the first.

    Raises:
        ConfigError: wrong input, or a model without metadata about its data. TypeError: an unknown argument.
    """
    changes: dict[str, Any] = {"sampler": sampler} if isinstance(sampler, str) else dict(sampler or {})
    names = {field.name for field in dataclasses.fields(Evaluation)} - {"model", "sampler"}
    own = {name: value for name, value in settings.items() if name in names}
    if isinstance(own.get("inpaint"), (list, tuple)):
        own["inpaint"] = ",".join(map(str, cast("list[Any]", own["inpaint"])))
    changes |= {name: value for name, value in settings.items() if name not in names and value is not None}
    named = os.fspath(model) if isinstance(model, (str, os.PathLike)) else IN_MEMORY
    args = filled(Evaluation(model=named), {**own, "sampler": changes}, "")
    subject, args = load(args, model, data)
    lazy, drawn = Lazy(args, subject), None
    if args.num_samples and subject.pipe is not None:
        if place_among_processes()[0] == 0:
            _ = lazy.evaluator.classifier  # missing packages are reported before samples are drawn
        drawn = draw(args, subject.pipe)
    if place_among_processes()[0] > 0:
        return {}
    text = json.dumps(measured(args, subject, lazy, drawn), indent=1)
    if args.out:
        write_figures(args.out, args.overwrite, text)
    return cast(dict[str, Any], json.loads(text))


@dataclass(frozen=True)
class Subject:
    """The subject of an evaluation, loaded once: the tokenizer (the pipeline's own if there is one), and
    held-out images."""

    tokenizer: Tokenizer
    pipe: Pipeline | None
    data: DataConfig
    held_out: ImageSet
    device: str
    given: GivenImages | None
    """The images, if they are in memory."""


def measured(args: Evaluation, subject: Subject, lazy: Lazy, drawn: Drawn | None) -> dict[str, Any]:
    """All measures, and the metadata of the evaluation."""
    from ..provenance.machine import code, machine
    from .reconstruction import evaluate_tokenizer
    from .results import FORMAT, VERSION, command_line

    began = time.perf_counter()
    space, left_out = feature_space(args, subject, lazy)
    found = evaluate_tokenizer(
        subject.tokenizer,
        subject.held_out,
        subject.device,
        args.batch_size,
        space,
        bool(args.worst),
        keep_codes=args.likelihood,
    )
    results: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "command": command_line(args),
        "model": args.model,
        **(weights_sha256(args.model, subject.pipe) if subject.pipe is not None else {}),
        "data": subject.data.source,
        "held_out_images": len(subject.held_out),
        "tokenizer": found.figures | ({"note": left_out} if left_out else {}),
    }
    if found.worst is not None:
        save_report(found.worst.sheet(), args.worst, args.overwrite, "worst images")
        results["worst"] = found.worst.listed(subject.held_out.source.names)
    if args.likelihood:
        results["likelihood"] = evaluate_likelihood(args, subject, found)
    if drawn is not None and subject.pipe is not None:
        results["samples"] = evaluate_samples(args, subject.pipe, subject.data, lazy.evaluator, drawn)
    if args.inpaint and subject.pipe is not None:
        results["inpainting"] = evaluate_inpainting(args, subject.pipe, subject.held_out, lazy.evaluator)
    return {**results, "seconds": round(time.perf_counter() - began, 1), "code": code(), "machine": machine()}


def load(args: Evaluation, model: Any, data: Data | None) -> tuple[Subject, Evaluation]:
    """The subject, and the evaluation with the precision of a pipeline that is loaded already.

    Raises:
        ConfigError: the model, its metadata about its data, or the data is missing, or does not fit the
            request.
    """
    for name in (args.worst, args.neighbours, args.samples):
        if name:
            check_ending(Path(name))
    pipe, tokenizer, metadata = opened(args, model)
    hint = "needs a diffusion model; name the run that trained one"
    check(pipe is not None or not args.likelihood, "likelihood", True, hint)
    check(pipe is not None or not args.inpaint, "inpaint", args.inpaint, hint)
    if pipe is not None:
        args = dataclasses.replace(args, precision=cast(Any, pipe.precision))
        check_sampler(pipe, args)
    device = str(next(iter(tokenizer.state_dict().values())).device)
    config, given = images_of(args, tokenizer, pipe, metadata, data)
    source = open_source(config, held_out=True, given=given)
    if config.root or given is not None:
        announce(config, source, file=sys.stderr)
    held_out = ImageSet(as_trained(source, pipe.class_names if pipe is not None else ()), config)
    if args.inpaint and pipe is not None:
        check_inpainting(args, pipe, held_out)
    return Subject(tokenizer, pipe, config, held_out, device, given), args


def opened(args: Evaluation, model: Any) -> tuple[Pipeline | None, Tokenizer, dict[str, Any]]:
    """The pipeline, if there is one, the tokenizer on its device, and the metadata of the training. A
    pipeline or tokenizer stays where it is, unless a device is named."""
    device = pick_device(args.device)
    if isinstance(model, OWN):
        tokenizer = model.eval() if args.device == "auto" else model.eval().to(device)
        return None, tokenizer, {} if model.info is None else model.info.metadata
    if isinstance(model, Pipeline):
        pipe = model if args.device == "auto" else model.to(device)
    elif has_pipeline(args.model):
        pipe = Pipeline.from_pretrained(args.model, device, args.precision)
    else:
        tokenizer, info = load_tokenizer(args.model)
        return None, tokenizer.to(device), info.metadata
    pipe = pipe.compile() if args.compile else pipe
    return pipe, pipe.tokenizer, pipe.metadata


def check_sampler(pipe: Pipeline, args: Evaluation) -> None:
    """Raises TypeError or ConfigError, before any work, for arguments that are neither this module's nor
    settings of the sampler."""
    try:
        pipe.request(**args.changes())
    except TypeError as error:
        names = [*(f.name for f in dataclasses.fields(Evaluation)), *SAMPLERS.types(), *SHARED]
        unknown = next((name for name in args.changes() if name not in names), "")
        raise TypeError(
            f"evaluate() got an unexpected keyword argument {unknown!r}{closest_match(unknown, names)}"
        ) from error


def images_of(
    args: Evaluation | Tuning,
    tokenizer: Tokenizer,
    pipe: Pipeline | None,
    metadata: dict[str, Any],
    data: Data | None,
) -> tuple[DataConfig, GivenImages | None]:
    """The images to compare with: the given ones, prepared as in training, or those that the model was
    trained on."""
    if data is None:
        config = remembered_data(metadata, args.model, args.root, args.val_root)
        if config.source != "huggingface":
            return config, None
        from ..data.huggingface import hugging_face

        return config, hugging_face(config)
    size = (
        pipe.image_size
        if pipe is not None
        else (tokenizer.info.image_size if isinstance(tokenizer, OWN) and tokenizer.info is not None else 0)
    )
    known: dict[str, Any] = {
        f.name: metadata["data"][f.name]
        for f in dataclasses.fields(DataConfig)
        if f.name in metadata.get("data", {})
    }
    kept: dict[str, Any] = {
        name: known[name]
        for name in ("crop", "tile", "flip", "white", "labels", "val_share", "memory_mb")
        if name in known and not (name == "labels" and isinstance(known[name], str))  # a file of other images
    }
    trained = filled(DataConfig(image_size=size, channels=cast(Any, tokenizer.channels)), kept, "data.")
    return data_settings(data, trained, trained, {})


class Lazy:
    """The evaluator of samples and reconstructions, made at the first access."""

    def __init__(self, args: Evaluation, subject: Subject):
        self.args, self.subject = args, subject

    @cached_property
    def evaluator(self) -> SampleEvaluator:
        """Raises ConfigError if the images have no classes and no other features are available."""
        data, held_out = self.subject.data, self.subject.held_out
        classes = held_out.source.class_names if len(held_out.source.class_names) > 1 else ()
        kind = self.args.features if self.args.features != "auto" else "train" if classes else "efficientnet"
        train = as_trained(open_source(data, given=self.subject.given), held_out.source.class_names)
        return SampleEvaluator(train, data, held_out, classes, self.space(kind), self.args.reference)

    def space(self, kind: str) -> FeatureSpace | None:
        """Features by name; None means the classifier's own."""
        if kind == "train":
            return None
        if kind == "efficientnet":
            from ..metrics.pretrained import pretrained_space

            return pretrained_space(self.subject.device)
        from ..metrics.inception import inception_space

        return inception_space(self.args.features_weights, self.subject.device, self.args.download)


def feature_space(args: Evaluation, subject: Subject, lazy: Lazy) -> tuple[Space | None, str]:
    """Features for the distance of reconstructions (:class:`~.held_out.Space`) or None, and the reason if it
    was requested."""
    from .reconstruction import Space

    if not args.reconstruction_distance:
        return None, ""
    if len(subject.held_out) < 2:
        return None, "reconstruction Fréchet distance left out: it needs 2 held-out images or more"
    try:
        evaluator = lazy.evaluator
    except ConfigError as error:  # too few images for a classifier, no scikit-learn, no EfficientNet
        if args.features != "auto":
            raise
        classes = "" if len(subject.held_out.source.class_names) > 1 else "the images have no classes; "
        return None, f"reconstruction Fréchet distance left out: {classes}{error}"
    return (
        Space(
            evaluator.space.features,
            evaluator.space.name + (", on white" if has_alpha(subject.data.channels) else ""),
            evaluator.seen.moments if args.reference == "held_out" else None,
        ),
        "",
    )


def has_pipeline(model: str) -> bool:
    """Whether a folder holds a whole model, not a tokenizer alone. Raises ConfigError where it is not there
    or cannot be read."""
    from ..tokenizer.folder import NothingThere, find

    try:
        find(model, "pipeline", "model")
    except NothingThere:
        return False
    return True


def weights_sha256(model: str, pipe: Pipeline) -> dict[str, str]:
    """Hashes of the weights of both parts, those of their files as they are or would be."""
    from ..storage import sha256
    from ..tokenizer.folder import find

    if model == IN_MEMORY:
        return {
            "denoiser_sha256": weights_digest(pipe.denoiser),
            "tokenizer_sha256": weights_digest(pipe.tokenizer),
        }
    place = find(model, "pipeline", "model")
    return {
        f"{part}_sha256": sha256(place / part / "model.safetensors") for part in ("denoiser", "tokenizer")
    }


def weights_digest(network: HasWeights) -> str:
    """Hash of the safetensors file of a network's weights, as ``save_pretrained`` writes it."""
    from safetensors.torch import save

    return hashlib.sha256(
        save({name: t.detach().cpu().contiguous().clone() for name, t in network.state_dict().items()})
    ).hexdigest()


def evaluate_likelihood(args: Evaluation, subject: Subject, held_out: Any) -> dict[str, Any]:
    """The variational bound of every held-out image under its own label, in bits per code and, for pixels,
    per dimension.

    Args:
        held_out: Results of the pass over the held-out images (:class:`~.held_out.Found`).
    """
    import numpy as np
    import torch

    from ..metrics.likelihood import bound_in_bits

    pipe, device = subject.pipe, subject.device
    assert pipe is not None
    none = pipe.denoiser.num_classes
    known = (held_out.labels >= 0) & (held_out.labels < none)
    labels = np.where(known, held_out.labels, none)

    def read(indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        codes = torch.from_numpy(held_out.codes[indices].astype(np.int64))
        return codes.to(device), torch.from_numpy(labels[indices]).to(device)

    began = time.perf_counter()
    found = bound_in_bits(
        pipe.predict, pipe.process, read, len(labels), pipe.grid, args.draws, args.seed, args.batch_size
    )
    rounded = {
        name: round(value, 5) for name, value in dataclasses.asdict(found).items() if isinstance(value, float)
    }
    values = {
        f"{name}_bits_per_code" if name in PARTS_IN_BITS else name: value for name, value in rounded.items()
    }
    pixels = isinstance(pipe.tokenizer, Pixels)
    per_dimension = {"bits_per_dimension": round(found.bits / pipe.tokenizer.channels, 5)} if pixels else {}
    by_time = {f"t<={upper:g}": round(bits, 5) for upper, bits in found.by_time}
    counts = {"images": found.images, "draws": found.draws, "seconds": round(time.perf_counter() - began, 1)}
    return {
        "bits_per_code": values.pop("bits"),
        **per_dimension,
        **values,
        "diffusion_by_time": by_time,
        **counts,
    }
