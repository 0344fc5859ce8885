"""``d3pm-image train-diffusion``: images → cached codes → pipeline folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Protocol

from ..config import ConfigError, DataConfig, DiffusionRun, need, pixel_levels, size_pair
from .parsing import parse, save_resolved
from .provenance import training_facts
from .record import machine

PREVIEW_IMAGES = 20
VALIDATION_IMAGES = 2048
VALIDATION_SEED = 0xC0DE


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image train-diffusion`` and run it. Raises ConfigError for wrong input."""
    run(parse("train-diffusion", DiffusionRun, arguments))


def run(config: DiffusionRun) -> None:
    """Encode the images once, train, and write ``<out>/model``.

    Raises:
        ConfigError: wrong input. TrainingError: training cannot go on.
    """
    import torch

    from ..data.codes import CodeSet, Team
    from ..data.order import BatchOrder, batches
    from ..denoiser import Transformer
    from ..diffusion import Objective, Process
    from ..pipeline import Pipeline
    from ..sampling import make_rule
    from ..training.loop import Job, check_folder, make_accelerator, train

    folder = Path(config.out)
    accelerator = make_accelerator(config.train)
    check_folder(folder, config.resume)
    tokenizer, info = open_tokenizer(config)
    config = dataclasses.replace(config, data=tokenizer_data(config.data, info))
    tokenizer.to(accelerator.device)
    process = Process.from_config(config.process, tokenizer.num_codes)
    height, width = tokenizer.grid(info.image_size)
    config.denoiser.token_grid((height, width))
    Objective.from_config(config.loss).check(process)
    make_rule(config.sampler).check(process, height * width, config.sampler.steps)  # not after hours of training
    with accelerator.main_process_first():  # a download is one process's work
        sources = [code_images(config.data, held_out) for held_out in (False, True)]
    team = Team(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone)
    place, held_place = (cached(images, tokenizer, info.sha256, config.cache, team) for images in sources)
    classes = sources[0].source.class_names
    codes = CodeSet(place, config.train.seed, num_codes=tokenizer.num_codes)
    held_out = CodeSet(held_place, augment=False, num_codes=tokenizer.num_codes)

    torch.manual_seed(config.train.seed)
    model = Transformer(config.denoiser, tokenizer.num_codes, len(classes))
    if accelerator.is_main_process:
        count = sum(p.numel() for p in model.parameters())
        print(
            f"{len(codes)} images as {codes.grid[0]}x{codes.grid[1]} codes in {place}; {len(classes)} classes; {count / 1e6:.2f}M parameters"
        )

    def loader(first: int, rank: int, world: int):
        order = BatchOrder(len(codes), config.train.batch_size, config.train.seed, first, config.train.steps, rank, world)
        return batches(codes, order, config.data.workers, pin=accelerator.device.type == "cuda")

    def assemble(network) -> Pipeline:
        facts = {"data": dataclasses.asdict(config.data), "tokenizer": info.facts}
        return Pipeline(tokenizer, network, config.process, size_pair(info.image_size), classes, config.sampler, facts)

    shared = {"process": dataclasses.asdict(config.process), "denoiser": dataclasses.asdict(config.denoiser)}
    loop = {name: getattr(config.train, name) for name in ("seed", "batch_size", "optimizer", "overfit_one_batch")}
    validate = make_validation(process, held_out, accelerator.device)
    job = Job(
        model,
        loader,
        make_loss(process, config, codes.grid),
        identity={"tokenizer": info.sha256, "data": place.name, **shared, **loop},
        begin=lambda: save_resolved(dataclasses.replace(config, resume=False), folder / "config.yaml"),
        validate=validate,
        validate_raw=validate,
        preview=make_preview(assemble),
    )
    best = train(job, config.train, folder, accelerator, config.resume)
    if accelerator.is_main_process:
        scores = {k: float(v) for k, v in validate(best).items()}
        pipe = assemble(best)
        pipe.facts["validation"] = scores
        pipe.facts["training"] = training_facts(folder, "train-diffusion") | {"machine": machine()}
        pipe.save_pretrained(folder / "model")
        print(f"held-out bound {scores['bits_per_code']:.3f} bits a code, accuracy at corrupted codes {scores['accuracy']:.3f}")
        print(
            f"model: {folder / 'model'}\nnext: d3pm-image generate {folder} --num-images 64 --out grid.png\n      d3pm-image inpaint {folder} IMAGE MASK --out result.png"
        )
    accelerator.wait_for_everyone()
    accelerator.end_training()


class OverTokenizer(Protocol):
    """Settings of a command that works on a tokenizer's codes."""

    @property
    def tokenizer(self) -> str:
        """A folder, or pixels:LEVELS."""

    @property
    def data(self) -> DataConfig:
        """The images."""


def open_tokenizer(config: OverTokenizer):
    """The tokenizer of a run, a folder's or pixels, in eval mode, and its facts (:class:`~d3pm_image.tokenizer.folder.TokenizerInfo`).

    Raises:
        ConfigError: no tokenizer there.
    """
    from ..tokenizer import load_tokenizer, pixel_tokenizer

    levels = pixel_levels(config.tokenizer)
    if not levels:
        return load_tokenizer(config.tokenizer)
    facts = {"data": dataclasses.asdict(config.data)}
    return pixel_tokenizer(levels, config.data.channels, config.data.image_size, facts)


def tokenizer_data(data: DataConfig, info) -> DataConfig:
    """Data settings at the tokenizer's own size and channels.

    Raises:
        ConfigError: another size or number of channels was asked for.
    """
    size = size_pair(info.image_size)
    need(
        data.channels in (0, info.channels), "data.channels", data.channels, f"the tokenizer was trained with {info.channels}; leave it out"
    )
    need(
        data.image_size == 0 or size_pair(data.image_size) == size,
        "data.image_size",
        data.image_size,
        f"the tokenizer was trained at {size[0]}x{size[1]}; leave it out",
    )
    return dataclasses.replace(data, channels=info.channels, image_size=size)


def code_images(data: DataConfig, held_out: bool):
    """The images whose codes train the denoiser, or those that judge it (at most VALIDATION_IMAGES, never mirrored)."""
    import numpy as np

    from ..data.images import ImageSet
    from ..data.sources import open_source

    source = open_source(data, held_out)
    if held_out and len(source) > VALIDATION_IMAGES:
        source = source.subset(np.linspace(0, len(source) - 1, VALIDATION_IMAGES).round().astype(np.int64))
    return ImageSet(source, dataclasses.replace(data, flip=data.flip and not held_out))


def cached(images, tokenizer, tokenizer_sha256: str, cache: str, team) -> Path:
    """Cache folder of images' codes, made by all processes together where it is not there.

    Raises:
        ConfigError: it cannot be written.
    """
    from ..data.codes import build_cache, cache_key

    device = next(iter(tokenizer.state_dict().values())).device  # pixels have no parameters

    def encode(batch):
        return tokenizer.encode(batch.to(device).float() / 255)

    try:
        return build_cache(images, encode, cache_key(tokenizer_sha256, images), cache, quiet=team.rank > 0, team=team)
    except OSError as error:
        mend = f"the code cache cannot be written ({error}); name another folder with --cache"
        raise ConfigError("cache", cache or "default", mend) from error


def make_loss(process, config: DiffusionRun, grid: tuple[int, int]):
    """The objective on a batch of codes, with labels hidden at random."""
    import torch

    from ..diffusion import Objective, bound_terms, diffusion_loss, fused_loss, low_discrepancy_times
    from ..metrics.noise_levels import accuracy_by_token, bound_by_noise_level

    objective = Objective.from_config(config.loss)

    def loss(model, batch, random):
        x_0, labels = batch["codes"], batch["labels"]
        network = unwrapped(model)
        times = low_discrepancy_times(random.shared(), random.total, process.steps)
        t = times[random.rows].to(x_0.device)
        x_t = process.corrupt(x_0, t, random.uniform(x_0.shape[1], 3))
        hidden = (random.uniform() < config.loss.label_dropout) | (labels < 0)
        kappa = process.schedule.survival(t)[1]
        labels = torch.where(hidden, torch.full_like(labels, network.num_classes), labels)
        output = model(x_t, kappa, labels, grid, head=not config.loss.fused, keys=random.keys() if config.denoiser.dropout else None)
        if config.loss.fused:
            total, terms = fused_loss(process, objective, output, network.head.weight, network.head.bias, x_0, x_t, t)
        else:
            terms = bound_terms(process, output, x_0, x_t, t, objective.label_smoothing)
            total = diffusion_loss(process, objective, terms, x_0, x_t, t)
        found = {"bound_nats": terms.bound.mean(), "cross_entropy_nats": terms.auxiliary.mean()}
        found |= accuracy_by_token(process, terms.correct, x_0, x_t) | bound_by_noise_level(terms.bound, t)
        return total, found

    return loss


def unwrapped(model):
    """The network inside a data-parallel wrapper."""
    return getattr(model, "module", model)


def make_validation(process, held_out, device):
    """Variational bound in bits a code on held-out codes, with fixed noise so that checkpoints can be compared."""
    import torch

    from ..metrics.likelihood import bound_in_bits

    def validate(model) -> dict[str, float]:
        model.eval()

        def read(indices: list[int]):
            batch = held_out.__getitems__(indices)
            labels = batch["labels"].to(device)
            return batch["codes"].to(device), torch.where(labels < 0, torch.full_like(labels, model.num_classes), labels)

        found = bound_in_bits(model, process, read, len(held_out), held_out.grid, seed=VALIDATION_SEED)
        return {"score": found.bits, "bits_per_code": found.bits, "accuracy": found.accuracy}

    return validate


def make_preview(assemble):
    """A grid of samples, every class in turn, always from the same seed."""
    from ..imaging import enlarge, grid_image

    def preview(model):
        pipe = assemble(model)
        images = pipe.generate(PREVIEW_IMAGES, seed=0)
        return {
            "samples": grid_image([enlarge(i) for i in images], columns=len(pipe.class_names) if 2 <= len(pipe.class_names) <= 10 else 5)
        }

    return preview
