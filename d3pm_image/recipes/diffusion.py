"""Stage two: images → cached codes → pipeline folder."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from ..config import (
    DenoiserConfig,
    DiffusionLossConfig,
    DiffusionRun,
    ProcessConfig,
    SamplingConfig,
    TrainConfig,
    check,
    palette_source,
    size_pair,
)
from ..label_sets import counted, sets_of, to_json
from ..printable import printable
from ..provenance.machine import machine
from ..storage import write_text
from ..system.threads import torch_threads
from .diffusion_loss import make_loss, set_dropout, unwrapped
from .finetune import PretrainedModel
from .images import write_unused
from .resuming import Images, RunIdentity, need_resume, resolved, settled
from .run_summary import training_facts
from .settings import save_resolved
from .token_cache import cached, open_code_images, open_tokenizer, tokenizer_data

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from PIL import Image
    from torch import Tensor, nn

    from ..data.codes import CodeSet
    from ..data.image_source import ImageSource
    from ..data.images import ImageSet
    from ..data.objects import Data, GivenImages
    from ..denoiser import Transformer
    from ..diffusion import Process
    from ..pipeline import Pipeline
    from ..tokenizer.folder import TokenizerInfo
    from ..training.loop import TrainTask
    from ..types import Tokenizer

PREVIEW_IMAGES = 20
VALIDATION_SEED = 0xC0DE


class DiffusionSettings(TypedDict, total=False):
    """Settings of stage two, which :class:`~d3pm_image.config.DiffusionRun` explains; groups may be
    dictionaries."""

    tokenizer: str | os.PathLike[str] | Tokenizer
    out: str | os.PathLike[str]
    resume: bool
    start_from: str | os.PathLike[str]
    token_start: Literal["codebook", "random"]
    cache: str | os.PathLike[str]
    process: ProcessConfig | Mapping[str, Any]
    denoiser: DenoiserConfig | Mapping[str, Any]
    loss: DiffusionLossConfig | Mapping[str, Any]
    sampler: Mapping[str, Any]
    sampling: SamplingConfig | Mapping[str, Any]
    train: TrainConfig | Mapping[str, Any]


def train_diffusion(
    data: Data,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    flip: bool | None = None,
    **settings: Unpack[DiffusionSettings],
) -> Pipeline:
    """Train a diffusion model on the codes of a tokenizer and write ``<out>/model``;
    ``train_diffusion(data="photos", tokenizer=tokenizer, out="runs/diffusion", train={"steps": 2000})``.

    Args:
        data: As :func:`~d3pm_image.recipes.tokenizer.train_tokenizer` takes it.
        image_size, channels, flip: Shortcuts for these fields of ``data``; the first two are the tokenizer's
            own.
        settings: The fields of :class:`~d3pm_image.config.DiffusionRun`, as in its YAML file. ``tokenizer``
            may be a tokenizer itself.

    Returns:
        The pipeline of ``<out>/model``, on the device of the training.

    Raises:
        As :func:`~d3pm_image.recipes.tokenizer.train_tokenizer`.
    """
    from ..pipeline import Pipeline
    from .arguments import run_settings

    shortcuts = {"image_size": image_size, "channels": channels, "flip": flip}
    config, given = run_settings(DiffusionRun, "train_diffusion", data, shortcuts, settings)
    device = run(config, given).device
    return Pipeline.from_pretrained(Path(config.out) / "model", device)


def run(config: DiffusionRun, given: GivenImages | None = None, alone: bool = True) -> Accelerator:
    """Encode the images once, train, and write ``<out>/model``; returns the accelerator that was used.

    Args:
        given: The images of ``data.source: python``.
        alone: Print the next commands; else the caller does.

    Raises:
        ConfigError: wrong input. TrainingError: training cannot go on.
    """
    from ..training.loop import end_training, make_accelerator, run_folder

    need_resume(config)
    config = settled(config)
    with torch_threads(config.train.threads):
        accelerator = make_accelerator(config.train)
        with run_folder(Path(config.out), config.resume, accelerator):
            train_in_folder(config, accelerator, given)
            accelerator.wait_for_everyone()
        end_training(accelerator)
    if alone and accelerator.is_main_process:
        shown = printable(config.out, 0)
        print(f"next: d3pm-image generate {shown} --num-images 64 --out grid.png")
        print(f"      d3pm-image inpaint {shown} IMAGE MASK --out result.png")
    return accelerator


def train_in_folder(config: DiffusionRun, accelerator: Accelerator, given: GivenImages | None = None) -> None:
    """A run in its folder, which is locked meanwhile."""
    from ..training.loop import train

    inputs = prepare(config, accelerator, given)
    task = make_task(inputs, accelerator)
    best = train(task, config.train, Path(config.out), accelerator, config.resume)
    if accelerator.is_main_process:
        finish(inputs, cast("Transformer", best), accelerator)


@dataclass(frozen=True)
class DiffusionInputs:
    """Inputs of a run, checked before training."""

    config: DiffusionRun
    """Settings, with the tokenizer's data settings."""
    tokenizer: Tokenizer
    info: TokenizerInfo
    process: Process
    codes: CodeSet
    held_out: CodeSet
    place: Path
    """The folder of the codes."""
    images: tuple[ImageSet, ImageSet]
    """The encoded images: training and validation."""
    classes: Sequence[str]
    pretrained: PretrainedModel | None
    """The model that training begins with."""
    sources: Sequence[ImageSource]
    """The source, for the list of unused files."""

    def pipeline(self, network: Transformer) -> Pipeline:
        """A network with all that it needs to generate images."""
        from ..pipeline import Pipeline
        from ..sampling.choice import from_values

        metadata = {"data": dataclasses.asdict(resolved(self.config).data), "tokenizer": self.info.metadata}
        size = size_pair(self.info.image_size)
        drawn = from_values(self.config.sampler), self.config.sampling
        return Pipeline(self.tokenizer, network, self.config.process, size, self.classes, *drawn, metadata)


def prepare(
    config: DiffusionRun, accelerator: Accelerator, given: GivenImages | None = None
) -> DiffusionInputs:
    """Open the tokenizer, check the settings against it, and encode the images unless a cache has them.

    Raises:
        ConfigError: wrong input.
    """
    from ..data.codes import CodeSet
    from ..diffusion import Objective, Process
    from ..sampling.choice import from_values
    from ..sampling.request import Request
    from ..tokenizer.quantizer import code_vectors

    own = Path(config.out) / "tokenizer"  # where a palette goes
    stage_one = palette_source(config.tokenizer) and any((own / n).exists() for n in ("log.jsonl", "model"))
    check(not stage_one, "out", config.out, "holds the run of a tokenizer; give a folder of its own")
    # a palette is that of the images, which only one process downloads
    with accelerator.main_process_first():
        tokenizer, info = open_tokenizer(config, given)
    pretrained = PretrainedModel.of(config, tokenizer)
    config = dataclasses.replace(config, data=tokenizer_data(config.data, info))
    tokenizer.to(accelerator.device)
    process = Process.from_config(config.process, tokenizer.num_codes, partial(code_vectors, tokenizer))
    height, width = tokenizer.grid(info.image_size)
    config.denoiser.token_grid((height, width))
    Objective.from_config(config.loss).check(process)
    Request(from_values(config.sampler), config.sampling).check_fit(process, (height, width))
    data, sources, team = open_code_images(config.data, accelerator, config.out, given)
    config = dataclasses.replace(config, data=data)
    place, held_place = (cached(images, tokenizer, info.sha256, config.cache, team) for images in sources)
    rolls = config.denoiser.rolls(config.data.tile)
    codes = CodeSet(place, config.train.seed, num_codes=tokenizer.num_codes, tile=rolls)
    held_out = CodeSet(held_place, augment=False, num_codes=tokenizer.num_codes)
    names = sources[0].source.class_names
    if (sets := sets_of(names)) is not None:
        set_dropout(sets, config.loss)
    else:
        hint = "is for images with several sets of labels (data.labels); leave it out"
        check(
            config.loss.set_dropout == DiffusionLossConfig().set_dropout,
            "loss.set_dropout",
            config.loss.set_dropout,
            hint,
        )
    unused = [images.source for images in sources[: 2 if config.data.val_root else 1]]
    return DiffusionInputs(
        config, tokenizer, info, process, codes, held_out, place, sources, names, pretrained, unused
    )


def say_what_is_trained(inputs: DiffusionInputs, model: nn.Module, known: int) -> None:
    """Print the first lines of a training: images, classes, parameters, the model that it begins with, and
    the number of its classes that match."""
    count = sum(p.numel() for p in model.parameters()) / 1e6
    grid = f"{inputs.codes.grid[0]}x{inputs.codes.grid[1]}"
    classes = counted(inputs.classes) or "no classes"
    where = printable(inputs.place, 0)
    print(f"{len(inputs.codes)} images as {grid} codes in {where}; {classes}; {count:.2f}M parameters")
    if inputs.pretrained:
        start = printable(inputs.config.start_from)
        print(f"initialised from {start}; {known} of the classes match")


def make_task(inputs: DiffusionInputs, accelerator: Accelerator) -> TrainTask:
    """The new denoiser, its batches, loss, validation and previews."""
    import torch

    from ..data.order import BatchOrder, batches
    from ..denoiser import Transformer
    from ..tokenizer.palette import start_vectors
    from ..training.loop import TrainTask

    config, codes = inputs.config, inputs.codes
    torch.manual_seed(config.train.seed)
    size, sets = (inputs.tokenizer.num_codes, len(inputs.classes)), sets_of(inputs.classes)
    model = Transformer(config.denoiser, *size, config.data.tile, sets)
    known = inputs.pretrained.load_weights(model, inputs.classes) if inputs.pretrained else 0
    if config.token_start == "codebook" and not inputs.pretrained:
        model.start_from_codebook(start_vectors(inputs.tokenizer).cpu())
    if accelerator.is_main_process:
        say_what_is_trained(inputs, model, known)

    def loader(first: int, rank: int, world: int) -> Iterator[dict[str, Tensor]]:
        order = BatchOrder(
            len(codes), config.train.batch_size, config.train.seed, first, config.train.steps, rank, world
        )
        return batches(codes, order, config.data.workers, accelerator.device)

    shared = {"process": dataclasses.asdict(config.process), "denoiser": dataclasses.asdict(config.denoiser)}
    loop = {
        name: getattr(config.train, name) for name in ("seed", "batch_size", "optimizer", "overfit_one_batch")
    }
    parts = {"tokenizer": inputs.info.sha256, **shared, **loop}
    identity = RunIdentity(
        config, parts, *(images_of(images, inputs.info.sha256) for images in inputs.images)
    )
    validate = make_validation(inputs.process, inputs.held_out, accelerator.device)
    return TrainTask(
        model,
        loader,
        make_loss(inputs.process, config.loss, codes.grid, config.denoiser.known_share),
        identity=identity.saved(),
        check_identity=identity.check,
        begin=lambda: begin(inputs),
        validate=validate,
        validate_raw=validate,
        preview=make_preview(inputs.pipeline),
    )


def images_of(images: ImageSet, tokenizer_sha256: str) -> Images:
    """Identity of a run's images: the keys of their codes."""
    from ..data.codes import cache_key, former_key

    key, former = (make(tokenizer_sha256, images) for make in (cache_key, former_key))
    return Images(key, (former,), images.listed.known_as)


def begin(inputs: DiffusionInputs) -> None:
    """Write a run's settings, and the list of files that it does not use."""
    from ..unfinished import CLASSES

    folder = Path(inputs.config.out)
    save_resolved(resolved(inputs.config), folder / "config.yaml")
    write_text(folder / CLASSES, json.dumps(to_json(inputs.classes)))
    write_unused(folder, *inputs.sources)
    if palette_source(inputs.config.tokenizer):  # for whoever uses the run before its end
        from ..tokenizer import save_tokenizer

        size, metadata = inputs.info.image_size, inputs.info.metadata
        save_tokenizer(inputs.tokenizer, folder / "tokenizer", size, metadata)


def finish(inputs: DiffusionInputs, best: Transformer, accelerator: Accelerator) -> None:
    """Write the pipeline's folder, and print its scores."""
    from ..visualization.curves import training_curves

    folder = Path(inputs.config.out)
    scores = make_validation(inputs.process, inputs.held_out, accelerator.device)(best)
    pipe = inputs.pipeline(best)
    pipe.metadata["validation"] = scores
    started = {"started_from": inputs.pretrained.remembered()} if inputs.pretrained else {}
    pipe.metadata["training"] = training_facts(folder) | {"machine": machine()} | started
    pipe.save_pretrained(folder / "model")
    training_curves(folder)
    print(
        f"held-out bound {scores['bits_per_code']:.3f} bits per code, accuracy at corrupted codes"
        f" {scores['accuracy']:.3f}"
    )
    print(f"model: {printable(folder / 'model', 0)}")


def make_validation(
    process: Process, held_out: CodeSet, device: torch.device
) -> Callable[[nn.Module], dict[str, float]]:
    """Variational bound in bits per code on held-out codes, with fixed noise so that checkpoints can be
    compared."""
    import torch

    from ..metrics.likelihood import bound_in_bits

    def validate(model: nn.Module) -> dict[str, float]:
        network = unwrapped(model.eval())

        def read(indices: list[int]) -> tuple[Tensor, Tensor]:
            batch = held_out.__getitems__(indices)
            labels = batch["labels"].to(device)
            return batch["codes"].to(device), torch.where(
                labels < 0, torch.full_like(labels, network.num_classes), labels
            )

        found = bound_in_bits(network, process, read, len(held_out), held_out.grid, seed=VALIDATION_SEED)
        return {"score": found.bits, "bits_per_code": found.bits, "accuracy": found.accuracy}

    return validate


def make_preview(
    assemble: Callable[[Transformer], Pipeline],
) -> Callable[[nn.Module], dict[str, Image.Image]]:
    """Samples, every class in turn, always from the same seed; four of them repeated where images repeat."""
    from ..editing.rolling import repeated
    from ..imaging import for_viewing, grid_image

    def preview(model: nn.Module) -> dict[str, Image.Image]:
        pipe = assemble(cast("Transformer", model))
        images = pipe.generate(PREVIEW_IMAGES, seed=0)
        columns = len(pipe.class_names) if 2 <= len(pipe.class_names) <= 10 else 5
        found = {"samples": grid_image([for_viewing(i) for i in images], columns)}
        if pipe.repeats != "none":
            found["repeated"] = grid_image([for_viewing(repeated(i, pipe.repeats)) for i in images[:4]])
        return found

    return preview
