"""The process, the denoiser, the objective and the sampler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import finite, need


@dataclass(frozen=True)
class ProcessConfig:
    """The corruption process: uniform + absorbing D3PM (Austin et al. 2021) with T steps or in continuous time.

    Args:
        corruption: Shape of the share of corrupted tokens over time: linear, or cosine (MaskGIT: few clean tokens, more often).
        uniform_share: Share of the corrupted tokens that carry a random code; the rest is masked. 0 is pure absorbing, 1 pure uniform.
        steps: Number of time steps T; 0 means continuous time.
    """

    corruption: Literal["linear", "cosine"] = "cosine"
    uniform_share: float = 0.1
    steps: int = 1000

    def __post_init__(self):
        need(self.corruption in ("linear", "cosine"), "process.corruption", self.corruption, "use linear or cosine")
        need(0 <= self.uniform_share <= 1, "process.uniform_share", self.uniform_share, "give a share in [0, 1], such as 0.1")
        need(self.steps >= 0, "process.steps", self.steps, "give 0 (continuous time) or a number of steps, such as 1000")
        need(self.steps <= 1_000_000, "process.steps", self.steps, "use 0 (continuous time) rather than more than a million steps")


@dataclass(frozen=True)
class DenoiserConfig:
    """The bidirectional transformer: noisy codes, noise level and class to logits over clean codes.

    Args:
        width: Channels D.
        depth: Number of blocks.
        heads: Attention heads; width / heads must be a multiple of 4 (2-D rotary positions).
        mlp_ratio: Hidden width of the gated feed-forward layer, as a multiple of width.
        dropout: Dropout in attention output and feed-forward layers.
    """

    width: int = 256
    depth: int = 6
    heads: int = 4
    mlp_ratio: float = 2.667
    dropout: float = 0.0

    def __post_init__(self):
        need(self.width >= 8, "denoiser.width", self.width, "use at least 8")
        need(self.depth >= 1, "denoiser.depth", self.depth, "use at least 1 block")
        need(self.heads >= 1 and self.width % self.heads == 0, "denoiser.heads", self.heads, f"must divide denoiser.width={self.width}")
        need(
            (self.width // self.heads) % 4 == 0,
            "denoiser.heads",
            self.heads,
            f"width / heads = {self.width // self.heads} must be a multiple of 4 for 2-D rotary positions",
        )
        need(finite(self.mlp_ratio) and self.mlp_ratio > 0, "denoiser.mlp_ratio", self.mlp_ratio, "give a positive ratio, such as 2.667")
        need(0 <= self.dropout < 1, "denoiser.dropout", self.dropout, "give a rate in [0, 1)")


@dataclass(frozen=True)
class DiffusionLossConfig:
    """The training objective, in nats a token: bound · (variational bound) + auxiliary · (cross-entropy on the posterior logits).

    Args:
        bound: Weight of the D3PM variational bound.
        auxiliary: Weight λ of the auxiliary cross-entropy (Austin et al. 2021, eq. 5), on the posterior logits.
        label_dropout: Share of training images whose label is hidden, for classifier-free guidance.
    """

    bound: float = 0.2
    auxiliary: float = 1.0
    label_dropout: float = 0.1

    def __post_init__(self):
        need(
            finite(self.bound + self.auxiliary) and self.bound >= 0 and self.auxiliary >= 0,
            "loss",
            (self.bound, self.auxiliary),
            "weights must be finite and 0 or more",
        )
        need(
            self.bound + self.auxiliary > 0,
            "loss",
            (self.bound, self.auxiliary),
            "give at least one of loss.bound and loss.auxiliary a positive weight",
        )
        need(0 <= self.label_dropout <= 1, "loss.label_dropout", self.label_dropout, "give a share in [0, 1], such as 0.1")


@dataclass(frozen=True)
class SamplerConfig:
    """How codes are drawn from a trained model.

    Args:
        sampler: confidence (MaskGIT) or ancestral (exact reverse jumps of the process).
        steps: Network calls an image.
        temperature: Divides the logits; under 1 is safer, over 1 is more varied.
        guidance: Classifier-free guidance weight w in u + w(c - u); 1 is off.
        gumbel: Noise of the confidence sampler's choice of what to keep (τ of MaskGIT); larger is more varied.
        reveal: Curve of the share still masked over the steps of the confidence sampler.
    """

    sampler: str = "confidence"
    steps: int = 16
    temperature: float = 1.0
    guidance: float = 1.0
    gumbel: float = 4.5
    reveal: Literal["cosine", "arccos", "linear"] = "cosine"

    def __post_init__(self):
        need(self.sampler in ("confidence", "ancestral"), "sampler", self.sampler, "use confidence or ancestral")
        need(1 <= self.steps <= 10_000, "steps", self.steps, "give 1 to 10000 sampling steps, such as 16")
        need(finite(self.temperature) and self.temperature > 0, "temperature", self.temperature, "give a positive number, such as 1.0")
        need(finite(self.guidance) and self.guidance >= 0, "guidance", self.guidance, "give 0 or more; 1 is off, 1.5 is usual")
        need(finite(self.gumbel) and self.gumbel >= 0, "gumbel", self.gumbel, "give 0 or more; 4.5 is MaskGIT's")
        need(self.reveal in ("cosine", "arccos", "linear"), "reveal", self.reveal, "use cosine, arccos or linear")
