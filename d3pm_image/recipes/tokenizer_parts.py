"""Parts of the tokenizer's training: the initial codebook, losses, validation and previews."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ..config import TokenizerRun
from ..pixel_range import ends_with_alpha, from_levels, over, to_signed
from .context_parts import SEAM, make_repaint_preview, make_repaint_scores, repainted, seam_error
from .token_cache import VALIDATION_IMAGES

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from PIL import Image
    from torch import Tensor, nn

    from ..data.images import ImageSet
    from ..tokenizer import Autoencoder
    from ..tokenizer.discriminator import Discriminator
    from ..tokenizer.perceptual import Perceptual
    from ..training.discriminator_step import DiscriminatorTask
    from ..training.random import StepRandom
    from ..training.task import Loss

PREVIEW_IMAGES = 16
GREY = 0.5
"""Background of transparent images in validation, under which no colour of theirs is lost."""


def start_codebook(model: Autoencoder, images: ImageSet, num_codes: int, tokens: int) -> None:
    """k-means start from many images, because fewer vectors than codes would leave duplicate codes."""
    import torch
    from accelerate.utils import broadcast

    from ..tokenizer.quantizer import QuantizerModule

    # k-means holds vectors × codes distances
    vectors = min(num_codes * 16, max(num_codes, 500_000_000 // num_codes))
    count = min(len(images), max(16, -(-vectors // tokens)), 4096)
    chosen = torch.linspace(0, len(images) - 1, count).long().tolist()
    batch = images.__getitems__(chosen)["images"].to(next(model.parameters()).device)
    model.eval()
    with torch.no_grad():
        features = torch.cat([model.encoder(to_signed(from_levels(part))) for part in batch.split(256)])
        if (found := features[:, 0].numel()) < num_codes and os.environ.get("RANK", "0") == "0":
            some = (
                f"{found} feature vectors of {count} images for {num_codes} codes: some codes begin as copies"
                " of others"
            )
            warnings.warn(f"{some}; use more images, or fewer tokenizer.quantizer.num_codes", stacklevel=1)
        # a quantizer of its own, not synchronised: the same images give the same start on any number of
        # processes
        alone = QuantizerModule(model.config.quantizer).to(features.device).eval()
        alone(features)
    model.quantizer.load_state_dict({name: broadcast(value) for name, value in alone.state_dict().items()})
    model.train()


def background(images: Tensor, random: StepRandom) -> Tensor | float:
    """A random colour for each of some images (B, C, h, w), on which networks that know no alpha see the
    image and its reconstruction; images without alpha need none, and nothing is drawn."""
    if not ends_with_alpha(images):
        return 0.0
    return random.uniform(images.shape[1] - 1, 1, 1).to(images.dtype)


def make_loss(
    config: TokenizerRun,
    accelerator: Accelerator | None = None,
    perceptual: Perceptual | None = None,
    discriminator: Discriminator | None = None,
) -> Loss:
    """Reconstruction + quantizer's + perceptual + adversarial loss of a batch of uint8 images. The last two
    see transparent images on a random :func:`background`."""
    from torch.nn import functional as F

    from ..metrics.codes import usage
    from ..tokenizer.discriminator import balanced, generator_loss, trust
    from ..tokenizer.loss import reconstruction_loss

    settings = config.loss.adversarial
    autocast = accelerator.autocast if accelerator is not None else contextlib.nullcontext

    def loss(model: nn.Module, batch: dict[str, Tensor], random: StepRandom) -> tuple[Any, ...]:
        images = from_levels(batch["images"])
        if config.learn == "context":
            output, codes, hidden = repainted(model, images, random, config.tokenizer.downsampling)
            total, terms = reconstruction_loss(output, images, config.loss)
            terms["seam"] = seam_error(output, images, hidden)
            total, own = total + SEAM * terms["seam"], total.new_zeros(())
        else:
            output, codes, own = model(images, random.share())
            total, terms = reconstruction_loss(output, images, config.loss)
        behind = background(images, random)
        if perceptual is not None:
            with autocast():
                terms["perceptual"] = perceptual(over(output, behind), over(images, behind))
            total = total + config.loss.perceptual * terms["perceptual"]
        weight = settings.adversarial_weight(random.step)
        if weight and discriminator is not None:
            with autocast():
                terms["adversarial"] = generator_loss(discriminator, over(output, behind))
            if settings.adaptive:
                total, terms["adversarial_weight"] = balanced(
                    output, total, terms["adversarial"], weight * trust(discriminator)
                )
            else:
                total = total + weight * terms["adversarial"]
        total = total + own
        values = {
            "mse": F.mse_loss(output.detach().float(), images),
            "commitment": own,
            **usage(codes, config.tokenizer.num_codes),
        }
        return total, {**values, **terms}, (over(images, behind), over(output, behind))

    return loss


def make_discriminator_task(
    config: TokenizerRun, accelerator: Accelerator, discriminator: Discriminator | None
) -> DiscriminatorTask | None:
    """The discriminator's part of training; None if it is off."""
    from ..tokenizer.discriminator import discriminator_loss
    from ..training.discriminator_step import DiscriminatorTask

    settings = config.loss.adversarial
    if discriminator is None:
        return None

    def everywhere(value: Tensor) -> Tensor:
        return accelerator.reduce(value, "mean")

    def loss(
        network: nn.Module, kept: tuple[Tensor, Tensor], random: StepRandom
    ) -> tuple[Tensor, dict[str, Tensor]]:
        images, output = kept
        return discriminator_loss(
            network, discriminator, images, output, settings, everywhere, 1 / config.train.accumulate
        )

    return DiscriminatorTask(
        discriminator, loss, settings.rate, settings.start_step, "loss.adversarial.start_step"
    )


def make_validation(
    held_out: ImageSet,
    device: torch.device,
    config: TokenizerRun,
    perceptual: Perceptual | None = None,
    complain: bool = True,
) -> Callable[[nn.Module], dict[str, float]]:
    """Reconstruction error and codebook use on held-out images, warnings in words, and the score: the mean
    squared error, or the whole reconstruction loss where it has other terms; of a context branch the squared
    error of repaints, and the error at their border. A warning is printed when two validations in a row agree
    on it: codebooks that form look collapsed for a while."""
    import sys

    from tqdm import tqdm

    from ..metrics.reconstruction import reconstruction_error
    from ..metrics.tokenizer_diagnostics import warnings_of
    from ..tokenizer.loss import L2_SCALE, reconstruction_loss

    plain = not (config.loss.l1 or config.loss.gradient or config.loss.ssim or config.loss.perceptual)
    count = min(len(held_out), VALIDATION_IMAGES)
    before: set[str] = set()
    repaints = make_repaint_scores(held_out, device, count) if config.learn == "context" else None
    same: dict[str, float] = {}  # of reconstructions, which a context branch does not change

    def whole(output: Tensor, images: Tensor) -> Tensor:
        total = reconstruction_loss(output, images, config.loss)[0]
        if perceptual is None:
            return total
        return total + config.loss.perceptual * perceptual(over(output, GREY), over(images, GREY))

    def validate(model: nn.Module) -> dict[str, float]:
        network = cast("Autoencoder", model.eval())
        criterion = None if plain else whole
        values = same or reconstruction_error(
            network, lambda indices: held_out.read(indices, device), count, criterion=criterion
        )
        now = (
            {text.partition(":")[0]: text for text in warnings_of(values, config.tokenizer, count)}
            if complain
            else {}
        )
        for kind in now.keys() & before:
            tqdm.write(f"warning: {now[kind]}", file=sys.stderr)
        before.clear()
        before.update(now)
        if repaints is not None:
            same.update(values)
            found = repaints(network)
            return {"score": found["hidden_mse"] + SEAM / L2_SCALE * found["seam_error"], **values, **found}
        return {"score": values.get("reconstruction_loss", values["mse"]), **values}

    return validate


def make_preview(
    held_out: ImageSet, device: torch.device, learn: str = "all"
) -> Callable[[nn.Module], dict[str, Image.Image]]:
    """Rows of held-out originals, each above its reconstructions; repaints where a context branch learns."""
    import torch

    from ..imaging import for_viewing, grid_image, to_pil

    if learn == "context":
        return make_repaint_preview(held_out, device)

    def preview(model: nn.Module) -> dict[str, Image.Image]:
        network, count = cast("Autoencoder", model), min(PREVIEW_IMAGES, len(held_out))
        images = held_out.read(torch.linspace(0, len(held_out) - 1, count).long().tolist(), device)
        pairs = []
        originals, outputs = to_pil(images), to_pil(network.decode(network.encode(images)))
        for start in range(0, count, 8):
            pairs += originals[start : start + 8] + outputs[start : start + 8]
        return {"reconstruction": grid_image([for_viewing(p) for p in pairs], columns=min(8, count))}

    return preview
