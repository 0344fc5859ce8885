"""Classifier-free guidance (Ho & Salimans 2022) as a denoiser around a denoiser.

logits = u + w (c - u) on clean-code logits, w = 1 is off. Mixing must happen before a posterior is formed:
mixing posteriors over K + 1 tokens inflates the unmask rate (from 3 % to 51 % at w = 4). The weight may rise
over the decode, and be off outside an interval (Kynkäänniemi et al. 2024), where the second half of the batch
is not computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..denoiser.labels import with_some_hidden
from ..diffusion.reduction import working_type
from ..label_sets import LabelSets
from ..types import Denoiser, Grid


def weight_at(config: SamplingConfig, progress: float) -> float:
    """w at a fraction of the decode done before the call, in [0, 1): constant, or from 1 at the first call up
    to ``guidance`` at the last by a line or half a cosine; a decode of a single call has ``guidance``."""
    return 1 + (config.guidance - 1) * rise_at(config, progress)


def rise_at(config: SamplingConfig, progress: float) -> float:
    """The share of the way from weight 1 to the configured weight, at a fraction of the decode."""
    if not config.guidance_from <= progress < config.guidance_until:
        return 0.0
    # the last call has done (steps - 1)/steps of the decode
    share = min(1.0, progress * config.steps / (config.steps - 1)) if config.steps > 1 else 1.0
    return {"constant": 1.0, "linear": share, "cosine": (1 - math.cos(math.pi * share)) / 2}[
        config.guidance_schedule
    ]


def label_sets_of(denoiser: Denoiser) -> LabelSets | None:
    """The sets of labels of a denoiser, or of the object that it is a method of; None for one set."""
    owner = getattr(denoiser, "__self__", denoiser)
    return getattr(denoiser, "label_sets", getattr(owner, "label_sets", None))


def working(logits: Tensor) -> Tensor:
    """Logits in the dtype that samplers use; the one place that decides it."""
    return logits.to(working_type(logits))


@dataclass(frozen=True)
class Guided:
    """A denoiser with guidance.

    Args:
        denoiser: Network.
        no_label: The label that means no label.
        negative: Label that guidance moves away from, or no_label.
        sets: Of labels, where an image has several.
    """

    denoiser: Denoiser
    no_label: int
    negative: int
    sets: LabelSets | None = None

    def __call__(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: Grid,
        weight: float,
        where: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, N, K) at weight w, float32 (float64 if the network's are) for any w and any half
        precision of the network; those of positions outside ``where`` (B, N) bool are undefined."""
        if weight == 1 or bool((labels == self.negative).all()):
            return working(self.denoiser(x_t, kappa, labels, grid, where))
        other = torch.full_like(labels, self.negative)
        twice = torch.cat([x_t, x_t]), torch.cat([kappa, kappa]), torch.cat([labels, other])
        both = self.denoiser(*twice, grid, None if where is None else torch.cat([where, where]))
        with_label, without = working(both).chunk(2)
        return without + weight * (with_label - without)

    def by_set(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: Grid,
        weights: Sequence[float],
        where: Tensor | None = None,
    ) -> Tensor:
        """The same with a weight w_i for each set: with c_i the logits with the labels of the first i sets,
        c_0 + Σ_i w_i (c_i - c_{i-1})."""
        assert self.sets is not None
        count = len(self.sets.sizes)
        told = [torch.full_like(labels, self.negative)]
        for known in range(1, count + 1):
            hidden = torch.arange(count, device=labels.device) >= known
            told.append(with_some_hidden(labels, self.sets, hidden.expand(len(labels), count)))
        copies = len(told)
        many = torch.cat([x_t] * copies), torch.cat([kappa] * copies), torch.cat(told)
        found = self.denoiser(*many, grid, None if where is None else torch.cat([where] * copies))
        parts = working(found).chunk(copies)
        result = parts[0]
        for weight, before, after in zip(weights, parts, parts[1:], strict=False):
            result = result + weight * (after - before)
        return result
