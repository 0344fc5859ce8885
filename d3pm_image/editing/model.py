"""The members of a trained model that edits need; a :class:`~d3pm_image.Pipeline` has them."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..config import Tile
from ..diffusion import Process
from ..types import Grid, Tokenizer
from .regions import Size


class Model(Protocol):
    """A tokenizer, a denoiser over its codes and the process that the denoiser was trained with.

    image_size (height, width) in pixels and grid (H, W) in codes are those of the training images; no_label
    is the label that means none.
    """

    process: Process
    image_size: Size
    grid: Grid
    no_label: int

    @property
    def repeats(self) -> Tile:
        """Axes along which its images repeat."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Images to codes and back."""

    @property
    def device(self) -> torch.device:
        """Where the model runs."""

    def predict(
        self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid, where: Tensor | None = None
    ) -> Tensor:
        """Logits (B, N, K); see :meth:`d3pm_image.Pipeline.predict`."""
