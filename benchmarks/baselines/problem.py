"""What all baselines share: the codes to be learnt, the network that learns them, and what a baseline is.

A baseline is a class with

    problem                                   what is learned
    model                                     an nn.Module; matrices under ``model.blocks`` are Muon's
    loss(codes, labels, random)               scalar loss of a batch, in nats per code where it is a bound
    sample(labels, calls, seed, guidance)     codes of new images, by so many passes of the network

``labels`` are C where there is none (a tenth of a batch in training). Whatever can differ between methods
without being part of them (batches, label dropout, optimizer, averaged weights, precision) is the trainer's
and the same for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from d3pm_image.config import DenoiserConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.devices import pick_precision
from d3pm_image.sampling.guidance import Guided
from d3pm_image.training.random import StepRandom
from d3pm_image.types import Grid


@dataclass(frozen=True)
class Problem:
    """Codes of labelled images, and the size of the network.

    Args:
        num_codes: K. num_classes: C; label C means none. grid: (H, W), N = H·W.
        denoiser: Width, depth and heads, the same for all.
        vectors: What codes stand for (K, D), for kernels of a process; None has none.
        start: What token embeddings start from (K, D); None is random.
    """

    num_codes: int
    num_classes: int
    grid: Grid
    denoiser: DenoiserConfig
    vectors: Callable[[], Tensor] | None = None
    start: Tensor | None = None

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    def transformer(self) -> Transformer:
        model = Transformer(self.denoiser, self.num_codes, self.num_classes)
        if self.start is not None:
            model.start_from_codebook(self.start)
        return model


class Baseline(Protocol):
    """A method: see the module's docstring."""

    model: nn.Module
    problem: Problem

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        """Scalar loss of codes (B, N) int64 with labels (B,) in 0..C; called under autocast."""
        ...

    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        """Codes (B, N) int64 of images with labels (B,). With guidance other than 1 a pass carries each image
        twice."""
        ...


def drawing_precision(device: torch.device) -> torch.autocast:
    """bf16 where the device is at least as fast with it, else float32."""
    half = pick_precision("auto", device) == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


@dataclass(frozen=True)
class Predictor:
    """A denoiser as samplers call it: in :func:`drawing_precision`, guided, float32 logits."""

    model: Transformer
    grid: Grid

    def __call__(
        self,
        x_t: Tensor,
        level: Tensor,
        labels: Tensor,
        grid: Grid | None = None,
        where: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, N, K); arguments as in :class:`~d3pm_image.types.Denoiser`. ``where`` (B, N) bool: the
        head runs there alone."""
        with drawing_precision(x_t.device):
            features = self.model(x_t, level, labels, self.grid, head=False)
            if where is None:
                return self.model.head(features).float()
            wanted = self.model.head(features[where]).float()
        logits = wanted.new_zeros(*x_t.shape, wanted.shape[-1])
        logits[where] = wanted
        return logits

    def guided(self, x_t: Tensor, level: Tensor, labels: Tensor, guidance: float) -> Tensor:
        """Logits u + w (c - u) of the label and of none."""
        none = self.model.num_classes
        return Guided(self, none, none)(x_t, level, labels, self.grid, guidance)


def categorical(logits: Tensor, generator: torch.Generator) -> Tensor:
    """One draw from softmax(logits (…, K)), int64 (…)."""
    p = torch.softmax(logits.double(), -1)
    return torch.multinomial(p.flatten(0, -2), 1, generator=generator).view(p.shape[:-1])
