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

WORST = 16
PARTS_IN_BITS = ("reconstruction", "prior", "diffusion", "standard_error")


@dataclass(frozen=True, kw_only=True)
class Evaluate(SamplerOptions):
    """Measure a trained model on held-out images: reconstruction by the tokenizer and, for a whole model with classes, label accuracy, distance to real images and diversity of its samples.

    Args:
        model: Model or tokenizer folder, or the run that trained it.
        root: Folder of the data set, where it is not the one that the model remembers.
        likelihood: Also measure the variational bound of held-out images, in bits a code.
        draws: Noise levels an image for the bound; more make its standard error smaller.
        reconstruction_distance: Also measure the Fréchet distance of reconstructions to the originals (for images with classes; trains a classifier once).
        worst: Picture of the held-out images with the largest error, each above its reconstruction; empty for none.
        num_samples: Images to generate; 0 judges the tokenizer alone.
        out: JSON file for the figures; empty prints them only.
    """

    model: str
    root: str = ""
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
    subject = load(args)
    images = len(subject.held_out)
    judge = Lazy(subject)
    results: dict = {
        "model": args.model,
        "data": subject.data.source,
        "held_out_images": images,
        "tokenizer": judge_tokenizer(args, subject, judge),
    }
    if args.likelihood:
        results["likelihood"] = judge_likelihood(args, subject)
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
    data = remembered_data(facts, args.model, args.root)
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


def judge_tokenizer(args: Evaluate, subject: Subject, judge: Lazy) -> dict:
    """Errors, use of codes, reconstruction Fréchet distance, and on request a picture of the worst images."""
    from ..metrics.reconstruction import reconstruction_error

    def read(indices: list[int]):
        return subject.held_out.read(indices, subject.device)

    errors = reconstruction_error(subject.tokenizer, read, len(subject.held_out))
    values = {**{k: round(v, 6) for k, v in errors.items()}, "num_codes": subject.tokenizer.num_codes}
    if args.reconstruction_distance:
        values |= reconstruction_distance(subject, judge)
    if args.worst:
        from ..imaging import save_image

        save_image(worst_images(subject, read), args.worst)
    return values


def reconstruction_distance(subject: Subject, judge: Lazy) -> dict:
    """Fréchet distance of reconstructed and original held-out images, in the features of a classifier of the real training images."""
    import torch

    from ..metrics.fidelity import frechet_distance

    if judge.judge is None:
        return {"note": "no classes: the reconstruction Fréchet distance needs a classifier of the images"}
    features = []
    for part in torch.arange(len(subject.held_out)).split(250):
        output = subject.tokenizer.decode(subject.tokenizer.encode(subject.held_out.read(part.tolist(), subject.device)))
        features.append(judge.judge.classifier.features((output.cpu() * 255).round().to(torch.uint8)))
    return {"reconstruction_frechet_distance": round(frechet_distance(torch.cat(features), judge.judge.f_test), 4)}


def worst_images(subject: Subject, read):
    """The held-out images with the largest squared error, each above its reconstruction, worst first."""
    import torch

    from ..imaging import enlarge, grid_image, to_pil

    errors = []
    for part in torch.arange(len(subject.held_out)).split(250):
        images = read(part.tolist())
        errors.append((subject.tokenizer.decode(subject.tokenizer.encode(images)) - images).square().flatten(1).mean(1).cpu())
    error = torch.cat(errors)
    chosen = error.topk(min(WORST, len(error))).indices.tolist()
    images = read(chosen)
    outputs = subject.tokenizer.decode(subject.tokenizer.encode(images))
    pictures, captions = [], []
    for start in range(0, len(chosen), 8):
        here = chosen[start : start + 8]
        pictures += [enlarge(i, 96) for i in (*to_pil(images[start : start + 8]), *to_pil(outputs[start : start + 8]))]
        captions += [f"number {i}" for i in here] + [f"mse {float(error[i]):.4f}" for i in here]
    return grid_image(pictures, min(8, len(chosen)), captions)


def has_pipeline(model: str) -> bool:
    from ..tokenizer.folder import find

    try:
        find(model, "pipeline", "model")
    except ConfigError:
        return False
    return True


def judge_likelihood(args: Evaluate, subject: Subject) -> dict:
    """The variational bound of every held-out image under its own label, in bits a code and, for pixels, a dimension."""
    import torch

    from ..metrics.likelihood import bound_in_bits
    from ..tokenizer.pixels import Pixels

    pipe, held_out, device = subject.pipe, subject.held_out, subject.device
    none = pipe.denoiser.num_classes

    def read(indices: list[int]):
        batch = held_out.__getitems__(indices)
        codes = pipe.tokenizer.encode(batch["images"].to(device).float() / 255).flatten(1)
        labels = batch["labels"].to(device)
        return codes, torch.where((labels < 0) | (labels >= none), torch.full_like(labels, none), labels)

    began = time.perf_counter()
    found = bound_in_bits(pipe.predict, pipe.process, read, len(held_out), pipe.grid, args.draws, args.seed, args.batch_size)
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
        "judge": judge.classifier.name, "judge_accuracy_on_held_out": judge.accuracy(),
        **judge.measure(fake, labels),
        "fidelity_of_real_training_images": judge.measure_real(len(fake)),
        "note": f"fidelity in the judge's feature space, {judge.count(len(fake))} samples against held-out images; within_class_spread is the mean distance of two images of a class, as a share of that of held-out images",
    }  # fmt: skip
