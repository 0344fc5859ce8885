"""``d3pm-image evaluate MODEL``: figures for a tokenizer or a whole model, on held-out images; ``evaluate --compare A.json B.json``."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..config import ConfigError, DataConfig, need
from .options import OutputOptions, SamplerOptions, pick_device, write_report
from .parsing import parse

PARTS_IN_BITS = ("reconstruction", "prior", "diffusion", "standard_error")


@dataclass(frozen=True, kw_only=True)
class Evaluate(SamplerOptions, OutputOptions):
    """Measure a trained model on held-out images: reconstruction by the tokenizer and, for a whole model, distance of its samples to real images, their diversity and, with classes, label accuracy. ``evaluate --compare A.json B.json`` prints two results side by side. Of a tokenizer: mean squared and absolute error, PSNR of the mean error (psnr_db) and averaged over images (mean_psnr_db), SSIM, percentiles over images, use of the codes, Fréchet distance of reconstructions.

    Args:
        model: Model or tokenizer folder, or the run that trained it.
        root: Folder of the data set, where it is not the one that the model remembers.
        val_root: Folder of the held-out images, where the model was trained with such a folder and it is elsewhere now.
        likelihood: Also measure the variational bound of held-out images, in bits a code.
        draws: Noise levels an image for the bound; more make its standard error smaller.
        reconstruction_distance: Also measure the Fréchet distance of reconstructions to the originals: for images with classes in the features of a classifier of them, which is trained once; for others in those of EfficientNet-Lite0, if it is installed. It is no FID.
        worst: Picture of the held-out images with the largest error, each above its reconstruction; empty for none.
        num_samples: Images to generate; 0 judges the tokenizer alone.
        features: What images are compared in: train (a classifier of the model's own training images, trained once and kept), efficientnet (EfficientNet-Lite0 from a package), inception (the network of published FIDs, from torch-fidelity), or auto: train where there are classes, else efficientnet.
        features_weights: Weight file of inception; without it torch-fidelity may fetch it, if download is true.
        download: Let torch-fidelity fetch the weights of inception.
        reference: Real images that samples are compared with: held_out, or training, as many published FIDs do.
        neighbours: Picture of the samples that are nearest to a training image, each above that image, and figures of memorisation; empty for none.
        samples: Picture of the first 64 samples; empty for none.
        out: JSON file for the figures; empty prints them only.
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
    neighbours: str = ""
    samples: str = ""
    out: str = ""

    def __post_init__(self):
        super().__post_init__()
        need(1 <= self.draws <= 1000, "draws", self.draws, "give 1 to 1000 noise levels an image")
        unread = self.features != "inception" and (self.features_weights or self.download)
        need(not unread, "features_weights", self.features_weights, "only inception reads weights of its own; add --features inception")
        for name in ("neighbours", "samples"):
            need(not getattr(self, name) or self.num_samples > 0, name, getattr(self, name), "there are no samples with num_samples=0")
        need(self.num_samples == 0 or 20 <= self.num_samples <= 1_000_000, "num_samples", self.num_samples, "give 0, or 20 to 1000000")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image evaluate`` and run it. Raises ConfigError for wrong input."""
    if "--compare" in arguments:
        from ..evaluation.results import compare

        names = [a for a in arguments if a != "--compare"]
        need(len(names) == 2, "compare", " ".join(names), "name two result files: d3pm-image evaluate --compare A.json B.json")
        print(compare(*names))
        return
    run(parse("evaluate", Evaluate, arguments, {"model": "Model or tokenizer folder, or the run that trained it."}))


@dataclass(frozen=True)
class Subject:
    """What is judged, loaded once: the tokenizer (the pipeline's own where there is one), and held-out images to judge it by."""

    tokenizer: Any
    pipe: Any
    data: DataConfig
    held_out: Any
    device: str


def run(args: Evaluate) -> None:
    """Measure, print and write; of several processes (torchrun scripts/evaluate.py) all draw samples and the first measures them.

    Raises:
        ConfigError: wrong input, or a model that does not remember its data.
    """
    from ..evaluation.generate_samples import draw, first_process

    subject = load(args)
    judge, drawn = Lazy(args, subject), None
    if args.num_samples and subject.pipe is not None:
        if first_process():
            _ = judge.judge.classifier  # what is missing is known before samples are drawn
        drawn = draw(args, subject.pipe)
    if first_process():
        text = json.dumps(measured(args, subject, judge, drawn), indent=1)
        print(text)
        if args.out:
            write_report(args.out, args.overwrite, text, "figures")


def measured(args: Evaluate, subject: Subject, judge: Lazy, drawn: Any) -> dict[str, Any]:
    """All figures, and what stands beside them."""
    from ..evaluation.reconstruction import judge_tokenizer
    from ..evaluation.report import judge_samples, save_report
    from ..evaluation.results import FORMAT, VERSION, command_line
    from ..provenance.machine import code, machine

    began = time.perf_counter()
    space, left_out = feature_space(args, subject, judge)
    found = judge_tokenizer(
        subject.tokenizer, subject.held_out, subject.device, args.batch_size, space, bool(args.worst), keep_codes=args.likelihood
    )
    results: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "command": command_line(args),
        "model": args.model,
        **(weights_sha256(args.model) if subject.pipe is not None else {}),
        "data": subject.data.source,
        "held_out_images": len(subject.held_out),
        "tokenizer": found.figures | ({"note": left_out} if left_out else {}),
    }
    if found.worst is not None:
        save_report(found.worst.sheet(), args.worst, args.overwrite, "worst images")
        results["worst"] = found.worst.listed(subject.held_out.source.names)
    if args.likelihood:
        results["likelihood"] = judge_likelihood(args, subject, found)
    if drawn is not None:
        results["samples"] = judge_samples(args, subject.pipe, subject.data, judge.judge, drawn)
    return {**results, "seconds": round(time.perf_counter() - began, 1), "code": code(), "machine": machine()}


def load(args: Evaluate) -> Subject:
    """Raises ConfigError where the model, its memory of its data, or the data is not there, or does not fit what was asked."""
    from ..data.images import ImageSet
    from ..data.sources import open_source
    from ..evaluation.samples import as_trained, remembered_data
    from ..recipes.images import announce
    from ..tokenizer import load_tokenizer
    from .generate import check_ending

    for name in (args.worst, args.neighbours, args.samples):
        if name:
            check_ending(Path(name))
    device, whole = pick_device(args.device), has_pipeline(args.model)
    need(whole or not args.likelihood, "likelihood", True, "needs a diffusion model; name the run that trained one")
    if whole:
        pipe = args.pipeline(args.model)
        tokenizer, facts = pipe.tokenizer, pipe.facts
    else:
        pipe, (tokenizer, info) = None, load_tokenizer(args.model)
        facts = info.facts
    data = remembered_data(facts, args.model, args.root, args.val_root)
    source = open_source(data, held_out=True)
    if data.root:
        announce(data, source, file=sys.stderr)
    held_out = ImageSet(as_trained(source, pipe.class_names if whole else ()), data)
    return Subject(tokenizer.to(device), pipe, data, held_out, device)


class Lazy:
    """The judge of samples and reconstructions, made when it is first asked for."""

    def __init__(self, args: Evaluate, subject: Subject):
        self.args, self.subject = args, subject

    @cached_property
    def judge(self):
        """Raises ConfigError where the images have no classes and no other features can be had."""
        from ..data.sources import open_source
        from ..evaluation.samples import Judge, as_trained

        data, held_out = self.subject.data, self.subject.held_out
        classes = held_out.source.class_names if len(held_out.source.class_names) > 1 else ()
        kind = self.args.features if self.args.features != "auto" else "train" if classes else "efficientnet"
        train = as_trained(open_source(data), held_out.source.class_names)
        return Judge(train, data, held_out, classes, self.space(kind), self.args.reference)

    def space(self, kind: str):
        """Features by name; None means the classifier's own."""
        if kind == "train":
            return None
        if kind == "efficientnet":
            from ..metrics.pretrained import pretrained_space

            return pretrained_space(self.subject.device)
        from ..metrics.inception import inception_space

        return inception_space(self.args.features_weights, self.subject.device, self.args.download)


def feature_space(args: Evaluate, subject: Subject, lazy: Lazy):
    """Features for the distance of reconstructions (:class:`~.held_out.Space`) or None, and why it is None if it was asked for."""
    from ..evaluation.reconstruction import Space

    if not args.reconstruction_distance:
        return None, ""
    if len(subject.held_out) < 2:
        return None, "reconstruction Fréchet distance left out: it needs 2 held-out images or more"
    try:
        judge = lazy.judge
    except ConfigError as error:  # too few images for a classifier, no scikit-learn, no EfficientNet
        if args.features != "auto":
            raise
        classes = "" if len(subject.held_out.source.class_names) > 1 else "the images have no classes; "
        return None, f"reconstruction Fréchet distance left out: {classes}{error}"
    return Space(judge.space.features, judge.space.name, judge.seen.moments if args.reference == "held_out" else None), ""


def has_pipeline(model: str) -> bool:
    """Whether a folder holds a whole model, not a tokenizer alone. Raises ConfigError where it is not there or cannot be read."""
    from ..tokenizer.folder import NothingThere, find

    try:
        find(model, "pipeline", "model")
    except NothingThere:
        return False
    return True


def weights_sha256(model: str) -> dict[str, str]:
    """What the figures are of: the hashes of the weights of both parts."""
    from ..storage import sha256
    from ..tokenizer.folder import find

    place = find(model, "pipeline", "model")
    return {f"{part}_sha256": sha256(place / part / "model.safetensors") for part in ("denoiser", "tokenizer")}


def judge_likelihood(args: Evaluate, subject: Subject, held_out: Any) -> dict:
    """The variational bound of every held-out image under its own label, in bits a code and, for pixels, a dimension.

    Args:
        held_out: What the pass over the held-out images left (:class:`~.held_out.Found`).
    """
    import numpy as np
    import torch

    from ..metrics.likelihood import bound_in_bits
    from ..tokenizer.pixels import Pixels

    pipe, device = subject.pipe, subject.device
    none = pipe.denoiser.num_classes
    known = (held_out.labels >= 0) & (held_out.labels < none)
    labels = np.where(known, held_out.labels, none)

    def read(indices: list[int]):
        codes = torch.from_numpy(held_out.codes[indices].astype(np.int64))
        return codes.to(device), torch.from_numpy(labels[indices]).to(device)

    began = time.perf_counter()
    found = bound_in_bits(pipe.predict, pipe.process, read, len(labels), pipe.grid, args.draws, args.seed, args.batch_size)
    rounded = {name: round(value, 5) for name, value in dataclasses.asdict(found).items() if isinstance(value, float)}
    values = {f"{name}_bits_per_code" if name in PARTS_IN_BITS else name: value for name, value in rounded.items()}
    pixels = isinstance(pipe.tokenizer, Pixels)
    per_dimension = {"bits_per_dimension": round(found.bits / pipe.tokenizer.channels, 5)} if pixels else {}
    by_time = {f"t<={upper:g}": round(bits, 5) for upper, bits in found.by_time}
    counts = {"images": found.images, "draws": found.draws, "seconds": round(time.perf_counter() - began, 1)}
    return {"bits_per_code": values.pop("bits"), **per_dimension, **values, "diffusion_by_time": by_time, **counts}
