"""``d3pm-image evaluate MODEL``: figures for a tokenizer or a whole model, on held-out images."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config import ConfigError, DataConfig, need
from .options import SamplerOptions, pick_device
from .parsing import parse

PARTS_IN_BITS = ("reconstruction", "prior", "diffusion", "standard_error")


@dataclass(frozen=True, kw_only=True)
class Evaluate(SamplerOptions):
    """Measure a trained model on held-out images: reconstruction by the tokenizer and, for a whole model with classes, label accuracy, distance to real images and diversity of its samples. Of a tokenizer: mean squared and absolute error, PSNR of the mean error (psnr_db) and averaged over images (mean_psnr_db), SSIM, percentiles over images, use of the codes, Fréchet distance of reconstructions.

    Args:
        model: Model or tokenizer folder, or the run that trained it.
        root: Folder of the data set, where it is not the one that the model remembers.
        val_root: Folder of the held-out images, where the model was trained with such a folder and it is elsewhere now.
        likelihood: Also measure the variational bound of held-out images, in bits a code.
        draws: Noise levels an image for the bound; more make its standard error smaller.
        reconstruction_distance: Also measure the Fréchet distance of reconstructions to the originals: for images with classes in the features of a classifier of them, which is trained once; for others in those of EfficientNet-Lite0, if it is installed. It is no FID.
        worst: Picture of the held-out images with the largest error, each above its reconstruction; empty for none.
        num_samples: Images to generate; 0 judges the tokenizer alone.
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
    out: str = ""

    def __post_init__(self):
        super().__post_init__()
        need(1 <= self.draws <= 1000, "draws", self.draws, "give 1 to 1000 noise levels an image")
        need(self.num_samples == 0 or 20 <= self.num_samples <= 1_000_000, "num_samples", self.num_samples, "give 0, or 20 to 1000000")


def main(arguments: list[str]) -> None:
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
    """Measure, print and write.

    Raises:
        ConfigError: wrong input, or a model that does not remember its data.
    """
    from ..imaging import save_image
    from .held_out import judge_tokenizer

    subject = load(args)
    judge = Lazy(subject)
    space, left_out = feature_space(args, subject, judge)
    found = judge_tokenizer(
        subject.tokenizer, subject.held_out, subject.device, args.batch_size, space, bool(args.worst), keep_codes=args.likelihood
    )
    results: dict = {
        "model": args.model,
        "data": subject.data.source,
        "held_out_images": len(subject.held_out),
        "tokenizer": found.figures | ({"note": left_out} if left_out else {}),
    }
    if found.worst is not None:
        save_image(found.worst.sheet(), args.worst)
        results["worst"] = found.worst.listed(subject.held_out.source.names)
    if args.likelihood:
        results["likelihood"] = judge_likelihood(args, subject, found)
    if args.num_samples and subject.pipe is not None:
        results["samples"] = judge_samples(args, subject, judge)
    text = json.dumps(results, indent=1)
    print(text)
    if args.out:
        from ..storage import write_text

        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        write_text(Path(args.out), text + "\n")


def load(args: Evaluate) -> Subject:
    """Raises ConfigError where the model, its memory of its data, or the data is not there, or does not fit what was asked."""
    from ..data.images import ImageSet
    from ..data.sources import open_source
    from ..tokenizer import load_tokenizer
    from .generate import check_ending
    from .judging import remembered_data

    if args.worst:
        check_ending(Path(args.worst))
    device, whole = pick_device(args.device), has_pipeline(args.model)
    need(whole or not args.likelihood, "likelihood", True, "needs a diffusion model; name the run that trained one")
    if whole:
        pipe = args.pipeline(args.model)
        tokenizer, facts = pipe.tokenizer, pipe.facts
    else:
        pipe, (tokenizer, info) = None, load_tokenizer(args.model)
        facts = info.facts
    data = remembered_data(facts, args.model, args.root, args.val_root)
    return Subject(tokenizer.to(device), pipe, data, ImageSet(open_source(data, held_out=True), data), device)


class Lazy:
    """The judging classifier, trained when it is first asked for; None where the images have no classes."""

    def __init__(self, subject: Subject):
        self.subject = subject

    @cached_property
    def judge(self):
        from ..data.sources import open_source
        from .judging import Judge

        classes = self.subject.held_out.source.class_names
        return Judge(open_source(self.subject.data), self.subject.data, self.subject.held_out, classes) if len(classes) > 1 else None


def feature_space(args: Evaluate, subject: Subject, judge: Lazy):
    """Features for the distance of reconstructions (:class:`~.held_out.Space`) or None, and why it is None if it was asked for."""
    from ..metrics.pretrained import NAME, pretrained_features
    from .held_out import Space

    if not args.reconstruction_distance:
        return None, ""
    if len(subject.held_out) < 2:
        return None, "reconstruction Fréchet distance left out: it needs 2 held-out images or more"
    reasons = ["the images have no classes"]
    try:
        if judge.judge is not None:
            return Space(judge.judge.classifier.features, judge.judge.classifier.name, judge.judge.seen[0]), ""
    except ConfigError as error:  # too few images for a classifier, or no scikit-learn
        reasons = [str(error)]
    try:
        return Space(pretrained_features(subject.device), NAME), ""
    except ConfigError as error:
        return None, f"reconstruction Fréchet distance left out: {'; '.join([*reasons, str(error)])}"


def has_pipeline(model: str) -> bool:
    from ..tokenizer.folder import find

    try:
        find(model, "pipeline", "model")
    except ConfigError:
        return False
    return True


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


def judge_samples(args: Evaluate, subject: Subject, lazy: Lazy) -> dict:
    """Label accuracy, fidelity and diversity of samples, see :class:`~.judging.Judge`."""
    from .judging import draw_images

    pipe = subject.pipe
    if not pipe.class_names:
        return {"note": "unconditional model: label accuracy does not apply"}
    judge = lazy.judge
    began = time.perf_counter()
    fake, labels = draw_images(pipe, args.num_samples, args.seed, args.batch_size, args.changes())
    seconds = time.perf_counter() - began
    settings = dataclasses.asdict(pipe.settings(**args.changes()))
    return {
        "num_samples": args.num_samples, "seed": args.seed, "precision": args.precision, "settings": settings, "seconds": round(seconds, 1),
        "judge": judge.classifier.name, "judge_accuracy_on_held_out": judge.accuracy,
        **judge.measure(fake, labels),
        "fidelity_of_real_training_images": judge.measure_real(len(fake)),
        "note": f"fidelity in the judge's feature space, {judge.count(len(fake))} samples against held-out images; within_class_spread is the mean distance of two images of a class, as a share of that of held-out images",
    }  # fmt: skip
