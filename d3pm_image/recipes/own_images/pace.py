"""Seconds of a training step on this machine, measured on random images and codes before either stage
begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config import DiffusionRun, TokenizerRun
from ...system.threads import fitting_threads, torch_threads

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...training.task import Loss


class Measured:
    """A :data:`~d3pm_image.recipes.own_images.choice.Pace` of real steps.

    Args:
        classes: Number of classes of the images.
        seconds: How long each measurement takes, about.
    """

    def __init__(self, classes: int, seconds: float):
        self.classes, self.seconds = classes, seconds

    def __call__(self, first: TokenizerRun, second: DiffusionRun | None) -> float:
        import torch

        from ...training.timing import time_steps
        from ..random_batches import diffusion_batch, tokenizer_batch

        train = first.train if second is None else second.train
        with torch_threads(train.threads or fitting_threads()[0]):  # as a run takes them
            torch.manual_seed(train.seed)
            network, loss = tokenizer_of(first) if second is None else self.denoiser_of(first, second)

            def batch(images: int) -> dict[str, Tensor]:
                if second is None:
                    return tokenizer_batch(first, images)
                grid = first.tokenizer.grid(first.data.image_size)
                return diffusion_batch(first.tokenizer.num_codes, grid, self.classes, images)

            timing = time_steps(network, loss, batch, train, train.batch_size, self.seconds)
        return timing.step(train.batch_size)

    def denoiser_of(self, first: TokenizerRun, second: DiffusionRun) -> tuple[nn.Module, Loss]:
        """Network and objective of stage two on the codes of stage one."""
        from ...denoiser import Transformer
        from ...diffusion import Process
        from ..diffusion import make_loss

        codes = first.tokenizer.num_codes
        process = Process.from_config(second.process, codes)
        grid = first.tokenizer.grid(first.data.image_size)
        return Transformer(second.denoiser, codes, self.classes), make_loss(process, second.loss, grid)


def tokenizer_of(first: TokenizerRun) -> tuple[nn.Module, Loss]:
    """Network and objective of stage one, with its perceptual loss."""
    from ...tokenizer import Autoencoder
    from ...tokenizer.autoencoder import arrange
    from ...tokenizer.perceptual import Perceptual
    from ...training.loop import make_accelerator
    from ..tokenizer_parts import make_loss

    accelerator = make_accelerator(first.train)
    height, width = first.tokenizer.grid(first.data.image_size)
    vectors = first.train.batch_size * height * width
    network = Autoencoder(first.tokenizer, first.data.channels, vectors)
    if first.learn == "decoder":
        network.fix_codes()
    arrange(network.to(accelerator.device), accelerator.device.type)
    perceptual = Perceptual(first.loss).to(accelerator.device) if first.loss.perceptual else None
    return network, make_loss(first, accelerator, perceptual)
