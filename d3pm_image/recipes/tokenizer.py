"""Stage one: images → tokenizer folder."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from ..config import DataConfig, TokenizerConfig, TokenizerLossConfig, TokenizerRun, TrainConfig
from ..pixel_range import colour_channels
from ..printable import printable
from ..provenance.machine import machine
from ..system.threads import torch_threads
from .context_parts import with_context
from .finetune import begin_tokenizer
from .images import hint_at_alpha, open_images, write_unused
from .resuming import Images, RunIdentity, need_resume, resolved, settled
from .run_summary import training_facts
from .settings import save_resolved
from .tokenizer_parts import make_discriminator_task, make_loss, make_preview, make_validation, start_codebook

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

    from ..data.images import ImageSet
    from ..data.objects import Data, GivenImages
    from ..tokenizer import Autoencoder
    from ..tokenizer.perceptual import Perceptual
    from ..training.loop import TrainTask


class TokenizerSettings(TypedDict, total=False):
    """Settings of stage one, which :class:`~d3pm_image.config.TokenizerRun` explains; groups may be
    dictionaries."""

    out: str | os.PathLike[str]
    resume: bool
    start_from: str | os.PathLike[str]
    learn: Literal["all", "decoder", "context"]
    tokenizer: TokenizerConfig | Mapping[str, Any]
    loss: TokenizerLossConfig | Mapping[str, Any]
    train: TrainConfig | Mapping[str, Any]


def train_tokenizer(
    data: Data,
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    flip: bool | None = None,
    **settings: Unpack[TokenizerSettings],
) -> Autoencoder:
    """Train a tokenizer and write ``<out>/model``; ``train_tokenizer(data="photos", image_size=64,
    out="runs/tokenizer")``.

    Args:
        data: A folder of images, or shards; a torchvision set or "digits" by name; a DataConfig or a
            dictionary of its fields; or the images: an array (n, h, w[, c]), a pair (images, labels), a list,
            a torch data set or a Hugging Face data set.
        image_size, channels, flip: Shortcuts for these fields of ``data``. Channels that are left out are
            those of the images.
        settings: The fields of :class:`~d3pm_image.config.TokenizerRun`, as in its YAML file.

    Returns:
        The trained tokenizer in eval mode, which ``train_diffusion`` and ``encode`` accept; ``.folder`` is
        its folder.

    Raises:
        ConfigError: wrong input. TypeError: an unknown argument. TrainingError: training cannot go on.
            Interrupted: it was stopped by a signal, after it saved (``resume=True`` continues).
    """
    from ..tokenizer import Autoencoder, load_tokenizer
    from .arguments import run_settings

    shortcuts = {"image_size": image_size, "channels": channels, "flip": flip}
    config, given = run_settings(TokenizerRun, "train_tokenizer", data, shortcuts, settings)
    device = run(config, given).device
    network = load_tokenizer(Path(config.out) / "model")[0]
    assert isinstance(network, Autoencoder)
    return network.to(device)


def run(config: TokenizerRun, given: GivenImages | None = None, alone: bool = True) -> Accelerator:
    """Train and write ``<out>/model``; returns the accelerator that was used.

    Args:
        given: The images of ``data.source: python``.
        alone: Print the next command; else the caller continues.

    Raises:
        ConfigError: wrong input. TrainingError: training cannot go on.
    """
    from ..tokenizer.perceptual import Perceptual
    from ..training.loop import end_training, make_accelerator, run_folder

    need_resume(config)
    config = with_context(settled(config))
    # first, so that a missing package is reported at once
    perceptual = Perceptual(config.loss) if config.loss.perceptual else None
    with torch_threads(config.train.threads):
        accelerator = make_accelerator(config.train)
        with run_folder(Path(config.out), config.resume, accelerator):
            train_in_folder(config, accelerator, perceptual, given, alone)
            accelerator.wait_for_everyone()
        end_training(accelerator)
    return accelerator


def train_in_folder(
    config: TokenizerRun,
    accelerator: Accelerator,
    perceptual: Perceptual | None,
    given: GivenImages | None = None,
    alone: bool = True,
) -> None:
    """A run in its folder, which is locked meanwhile."""
    from ..training.loop import train

    with accelerator.main_process_first():  # only one process downloads
        inputs = prepare(config, given)
    model, started = make_model(inputs, accelerator)
    perceptual = perceptual.to(accelerator.device) if perceptual is not None else None
    validate = make_validation(inputs.held_out, accelerator.device, config, perceptual)
    task = dataclasses.replace(
        make_task(inputs, model, accelerator, perceptual),
        validate=validate,
        validate_raw=make_validation(inputs.held_out, accelerator.device, config, perceptual, complain=False),
    )
    best = train(task, config.train, Path(config.out), accelerator, config.resume)
    if accelerator.is_main_process:
        finish(inputs, cast("Autoencoder", best), validate(best), started)
        if alone:
            print(f"next: {next_stage(inputs.config.data, Path(config.out))}")


@dataclass(frozen=True)
class TokenizerInputs:
    """Inputs of a run."""

    config: TokenizerRun
    images: ImageSet
    held_out: ImageSet

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of an image's codes."""
        return self.config.tokenizer.grid(self.config.data.image_size)


def prepare(config: TokenizerRun, given: GivenImages | None = None) -> TokenizerInputs:
    """Open the training and the validation images.

    Raises:
        ConfigError: wrong input.
    """
    from ..data.images import ImageSet

    data, source, held_source = open_images(config.data, config.out, given)
    hint_at_alpha(data, source)
    config = dataclasses.replace(config, data=data)
    images = ImageSet(source, config.data, augment=True, seed=config.train.seed)
    return TokenizerInputs(config, images, ImageSet(held_source, config.data))


def make_model(inputs: TokenizerInputs, accelerator: Accelerator) -> tuple[Autoencoder, dict[str, Any]]:
    """The new tokenizer on its device, with a trained one's weights, or its codebook fitted if its quantizer
    needs that; and metadata about the trained one."""
    import torch

    from ..tokenizer import Autoencoder
    from ..tokenizer.autoencoder import arrange

    config, (height, width) = inputs.config, inputs.grid
    torch.manual_seed(config.train.seed)
    vectors = config.train.batch_size * height * width
    model = Autoencoder(
        config.tokenizer,
        config.data.channels,
        vectors,
        synchronize=accelerator.num_processes > 1,
        tile=config.data.tile,
    )
    started = begin_tokenizer(model, config) if config.start_from else {}
    if accelerator.is_main_process:
        count = sum(p.numel() for p in model.parameters()) / 1e6
        sets = f"{len(inputs.images)} images, {len(inputs.held_out)} held out"
        begun = f"; begun with {printable(config.start_from)}" if started else ""
        codes = f"{height}x{width} codes of {config.tokenizer.num_codes}"
        print(f"{sets}; {count:.2f}M parameters; {codes}{begun}")
    arrange(model.to(accelerator.device), accelerator.device.type)
    if config.tokenizer.quantizer.kmeans_start and not started:
        start_codebook(model, inputs.images, config.tokenizer.num_codes, height * width)
    return model, started


def make_task(
    inputs: TokenizerInputs, model: Autoencoder, accelerator: Accelerator, perceptual: Perceptual | None
) -> TrainTask:
    """The tokenizer's batches, losses, discriminator and previews."""
    import torch

    from ..data.images import count_unreadable
    from ..data.order import BatchOrder, batches
    from ..seeds import derive
    from ..tokenizer.discriminator import Discriminator
    from ..training.loop import TrainTask

    config, images = inputs.config, inputs.images
    # the tokenizer's own weights are the same with and without a discriminator
    torch.manual_seed(derive(config.train.seed, 1))
    discriminator = (
        Discriminator(config.loss.adversarial, colour_channels(config.data.channels))
        if config.loss.adversarial.weight
        else None
    )

    def loader(first: int, rank: int, world: int) -> Iterator[dict[str, Tensor]]:
        order = BatchOrder(
            len(images), config.train.batch_size, config.train.seed, first, config.train.steps, rank, world
        )
        loaded = batches(images, order, config.data.workers, accelerator.device)
        # what is in memory has been read
        return loaded if images.pixels is not None else count_unreadable(loaded, order, images)

    shared = {
        "tokenizer": dataclasses.asdict(config.tokenizer),
        "seed": config.train.seed,
        "batch_size": config.train.batch_size,
    }
    shared |= {"learn": config.learn} if config.learn != "all" else {}
    shared |= {"prepared": images.preparation()} if images.preparation() else {}
    identity = RunIdentity(config, shared, images_of(images), images_of(inputs.held_out))
    return TrainTask(
        model,
        loader,
        make_loss(config, accelerator, perceptual, discriminator),
        identity=identity.saved(),
        check_identity=identity.check,
        begin=lambda: begin(inputs),
        preview=make_preview(inputs.held_out, accelerator.device, config.learn),
        discriminator=make_discriminator_task(config, accelerator, discriminator),
    )


def images_of(images: ImageSet) -> Images:
    """Identity of a run's images."""
    return Images(images.source.fingerprint, (images.source.known_as.former,), images.listed.known_as)


def begin(inputs: TokenizerInputs) -> None:
    """Write a run's settings, and the list of files that it does not use."""
    folder = Path(inputs.config.out)
    save_resolved(resolved(inputs.config), folder / "config.yaml")
    own = (inputs.held_out.source,) if inputs.config.data.val_root else ()
    write_unused(folder, inputs.images.source, *own)


def finish(
    inputs: TokenizerInputs, best: Autoencoder, found: dict[str, float], started: dict[str, Any]
) -> None:
    """Write the tokenizer's folder for stage two, and print its scores."""
    from ..tokenizer import save_tokenizer
    from ..visualization.curves import training_curves

    config, folder = inputs.config, Path(inputs.config.out)
    scores = {k: float(v) for k, v in found.items()}
    metadata = {
        "data": dataclasses.asdict(resolved(config).data),
        "validation": scores,
        "classes": list(inputs.images.source.class_names),
    }
    metadata["training"] = (
        training_facts(folder) | {"machine": machine()} | ({"started_from": started} if started else {})
    )
    save_tokenizer(best, folder / "model", config.data.image_size, metadata)
    training_curves(folder)
    used = f"{scores['codes_used']:.0f} of {config.tokenizer.num_codes} codes used"
    print(f"held-out mse {scores['mse']:.5f} (PSNR {scores['psnr_db']:.2f} dB), {used}")
    print(f"tokenizer: {printable(folder / 'model', 0)}")


def next_stage(data: DataConfig, folder: Path) -> str:
    """The command that trains stage two on the tokenizer of a run."""
    if data.source == "python":
        return f"train_diffusion(data=…, tokenizer={str(folder)!r})"
    given = {"source": data.source, "root": data.root, "name": data.name}
    words = [f"--data.{name} {printable(value, 0)}" for name, value in given.items() if value]
    return f"d3pm-image train-diffusion --tokenizer {printable(folder, 0)} {' '.join(words)}"
