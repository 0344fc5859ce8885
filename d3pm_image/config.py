"""Typed configuration: one frozen dataclass a room, no torch here.

Every field has a default that passes its own validation, a meaning (shown by ``--help``) and a reader in the
package. Impossible values raise :class:`ConfigError` at construction, before anything is allocated or written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal


class ConfigError(ValueError):
    """A value that cannot work. The message names the field, the value and the mend, in one line."""

    def __init__(self, name: str, value: Any, mend: str):
        super().__init__(f"{name}={value!r}: {mend}")


def need(condition: bool, name: str, value: Any, mend: str) -> None:
    """Raise :class:`ConfigError` for field ``name`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(name, value, mend)


def finite(value: float) -> bool:
    return math.isfinite(value)


def size_pair(image_size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    """(height, width) in pixels from one number or two. JSON and YAML bring tuples back as lists."""
    return (image_size, image_size) if isinstance(image_size, int) else (int(image_size[0]), int(image_size[1]))


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they reach the network.

    Args:
        source: digits (1,797 handwritten digits, embedded), folder, or a torchvision set: fashion_mnist, mnist, kmnist, cifar10, cifar100, eurosat, flowers102, stl10, svhn, food101, oxford_iiit_pet.
        root: Folder of the images, or where the torchvision set lies (default ~/.cache/d3pm_image/datasets).
        val_root: Folder of the held-out images; without it a folder gives up val_share of its images.
        val_share: Share of images held out where the source has no split of its own.
        download: Let torchvision fetch the set when it is not in root.
        image_size: Side in pixels, or height and width as [h, w]; 0 in stage two means the tokenizer's own.
        channels: 1 for grey, 3 for colour, pictures are converted; 0 in stage two means the tokenizer's own.
        crop: center and random cut the picture to the shape after resizing; stretch ignores the aspect ratio.
        flip: Mirror images left to right at random (not for digits or letters).
        labels: Use class labels where the source has them (class folders, torchvision targets).
        limit: Use only this many training images, spread over the set; 0 means all.
        workers: Loader processes for sets too large to be held in memory.
        memory_mb: Sets whose decoded images fit in this many megabytes are decoded once and held in memory.
    """

    source: str = "digits"
    root: str = ""
    val_root: str = ""
    val_share: float = 0.1
    download: bool = False
    image_size: int | tuple[int, int] = 0
    channels: Literal[0, 1, 3] = 0
    crop: Literal["center", "random", "stretch"] = "center"
    flip: bool = False
    labels: bool = True
    limit: int = 0
    workers: int = 2
    memory_mb: int = 2048

    def __post_init__(self):
        height, width = size_pair(self.image_size)
        need(min(height, width) >= 1 or self.image_size == 0, "data.image_size", self.image_size, "give a positive side in pixels, such as 64 or [48, 64]")
        need(max(height, width) <= 4096, "data.image_size", self.image_size, "use at most 4096 pixels a side")
        need(0 < self.val_share < 1, "data.val_share", self.val_share, "give a share between 0 and 1, such as 0.1")
        need(self.limit >= 0, "data.limit", self.limit, "give 0 for all images, or a positive number")
        need(self.workers >= 0, "data.workers", self.workers, "give 0 (load in the main process) or more")
        need(self.memory_mb >= 0, "data.memory_mb", self.memory_mb, "give 0 (never hold in memory) or more")
        need(self.source != "folder" or bool(self.root), "data.root", self.root, "name the folder of images when data.source is folder")


@dataclass(frozen=True)
class TokenizerConfig:
    """The VQ-VAE: images to a grid of codes and back.

    Args:
        downsampling: Pixels a code cell side: 1, 2, 4, 8 or 16; image sides must be divisible by it.
        width: Channels of the first level.
        multipliers: Channel factor of each level, finest first: one entry for each halving (one entry when downsampling is 1).
        blocks: Residual blocks a level, in the encoder; the decoder has one more.
        num_codes: Codebook size K.
        code_dim: Width of a code vector.
        decay: Moving-average rate of the codebook.
        commitment: Weight of the loss that keeps features near their codes.
        revive_below: A code whose moving count of uses falls under this share of the average is replaced by a feature vector.
        rotation_trick: Carry gradients through the quantizer by rotation instead of straight through.
    """

    downsampling: Literal[1, 2, 4, 8, 16] = 4
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2)
    blocks: int = 1
    num_codes: int = 512
    code_dim: int = 32
    decay: float = 0.99
    commitment: float = 0.25
    revive_below: float = 0.1
    rotation_trick: bool = False

    def __post_init__(self):
        object.__setattr__(self, "multipliers", tuple(self.multipliers))
        levels = max(1, self.downsampling.bit_length() - 1)
        need(self.downsampling in (1, 2, 4, 8, 16), "tokenizer.downsampling", self.downsampling, "use 1, 2, 4, 8 or 16")
        need(len(self.multipliers) == levels, "tokenizer.multipliers", list(self.multipliers), f"give {levels} entries for downsampling {self.downsampling}, one a halving")
        need(all(m >= 1 for m in self.multipliers), "tokenizer.multipliers", list(self.multipliers), "every factor must be at least 1")
        need(self.width >= 8 and self.width % 8 == 0, "tokenizer.width", self.width, "use a multiple of 8 (channels are normalised in groups of 8)")
        need(self.blocks >= 1, "tokenizer.blocks", self.blocks, "use at least 1 residual block a level")
        need(2 <= self.num_codes <= 65535, "tokenizer.num_codes", self.num_codes, "use 2 to 65535 codes (they are cached as 16-bit numbers)")
        need(self.code_dim >= 1, "tokenizer.code_dim", self.code_dim, "use at least 1")
        need(0 <= self.decay < 1, "tokenizer.decay", self.decay, "give a rate in [0, 1), such as 0.99")
        need(self.commitment >= 0, "tokenizer.commitment", self.commitment, "give 0 or more, such as 0.25")
        need(0 <= self.revive_below < 1, "tokenizer.revive_below", self.revive_below, "give a share in [0, 1), such as 0.1")

    def grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        """Code grid (H, W) of an image, with a clear error where the sides do not divide."""
        height, width = size_pair(image_size)
        f = self.downsampling
        near = tuple(max(f, round(s / f) * f) for s in (height, width))
        need(height % f == 0 and width % f == 0, "data.image_size", image_size, f"not divisible by tokenizer.downsampling={f}; use {near[0] if near[0] == near[1] else list(near)}")
        return height // f, width // f


@dataclass(frozen=True)
class TokenizerLossConfig:
    """Reconstruction loss on pixels in [0, 1], scaled so that typical values are near 1.

    Args:
        l2: Weight of the squared error.
        l1: Weight of the absolute error.
    """

    l2: float = 1.0
    l1: float = 0.0

    def __post_init__(self):
        need(self.l2 >= 0 and self.l1 >= 0, "loss", (self.l2, self.l1), "weights must be 0 or more")
        need(self.l2 + self.l1 > 0, "loss", (self.l2, self.l1), "give at least one of loss.l2 and loss.l1 a positive weight")


@dataclass(frozen=True)
class ProcessConfig:
    """The corruption process: uniform + absorbing D3PM (Austin et al. 2021) with T steps or in continuous time.

    Args:
        corruption: Shape of the share of corrupted tokens over time: linear, or cosine (MaskGIT: few clean tokens, more often).
        uniform_share: Share of the corrupted tokens that carry a random code; the rest is masked. 0 is pure absorbing, 1 pure uniform.
        steps: Number of time steps T; 0 means continuous time.
    """

    corruption: Literal["linear", "cosine"] = "linear"
    uniform_share: float = 0.1
    steps: int = 1000

    def __post_init__(self):
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
        need((self.width // self.heads) % 4 == 0, "denoiser.heads", self.heads, f"width / heads = {self.width // self.heads} must be a multiple of 4 for 2-D rotary positions")
        need(self.mlp_ratio > 0, "denoiser.mlp_ratio", self.mlp_ratio, "give a positive ratio, such as 2.667")
        need(0 <= self.dropout < 1, "denoiser.dropout", self.dropout, "give a rate in [0, 1)")


@dataclass(frozen=True)
class DiffusionLossConfig:
    """The training objective, in nats a token: bound · (variational bound) + auxiliary · (cross-entropy on the posterior logits).

    Args:
        bound: Weight of the D3PM variational bound.
        auxiliary: Weight λ of the auxiliary cross-entropy (Austin et al. 2021, eq. 5), on the posterior logits.
        label_dropout: Share of training images whose label is hidden, for classifier-free guidance.
    """

    bound: float = 1.0
    auxiliary: float = 0.1
    label_dropout: float = 0.1

    def __post_init__(self):
        need(self.bound >= 0 and self.auxiliary >= 0, "loss", (self.bound, self.auxiliary), "weights must be 0 or more")
        need(self.bound + self.auxiliary > 0, "loss", (self.bound, self.auxiliary), "give at least one of loss.bound and loss.auxiliary a positive weight")
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


@dataclass(frozen=True)
class TrainConfig:
    """The training loop, the same for both stages.

    Args:
        steps: Optimizer steps in all.
        batch_size: Images an optimizer step, over all processes and accumulation.
        accumulate: Parts that a process computes its share of the batch in (less memory, same result).
        optimizer: adamw, or muon for the denoiser (hidden matrices by Muon, all else by AdamW).
        learning_rate: Peak rate of AdamW.
        muon_rate: Rate of Muon, as a multiple of learning_rate.
        warmup_steps: Steps of linear warm-up; a cosine decay to final_rate follows.
        final_rate: Learning rate at the end, as a share of the peak.
        weight_decay: AdamW decay of matrices (not of norms, biases and embeddings).
        beta2: Second-moment rate of AdamW.
        clip: Largest gradient norm; 0 is off.
        ema: Decay of the averaged weights that are validated and exported (it ramps up over the first steps); 0 is off.
        mixed_precision: no, bf16 (CPU or GPU) or fp16 (GPU).
        compile: Compile the network with torch.compile.
        seed: Order of data, noise and initial weights derive from it.
        log_every: Steps between log lines.
        preview_every: Steps between preview pictures and validation; 0 is off.
        checkpoint_every: Steps between checkpoints.
        keep: Number of latest checkpoints kept; the best by validation is kept beside them.
    """

    steps: int = 1000
    batch_size: int = 128
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    muon_rate: float = 10.0
    warmup_steps: int = 50
    final_rate: float = 0.02
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip: float = 1.0
    ema: float = 0.999
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    seed: int = 0
    log_every: int = 20
    preview_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2

    def __post_init__(self):
        need(self.steps >= 1, "train.steps", self.steps, "train for at least 1 step")
        need(self.batch_size >= 1, "train.batch_size", self.batch_size, "use at least 1")
        need(self.accumulate >= 1 and self.batch_size % self.accumulate == 0, "train.accumulate", self.accumulate, f"must divide train.batch_size={self.batch_size}")
        need(finite(self.learning_rate) and self.learning_rate > 0, "train.learning_rate", self.learning_rate, "give a positive rate, such as 1e-3")
        need(finite(self.muon_rate) and self.muon_rate > 0, "train.muon_rate", self.muon_rate, "give a positive multiple, such as 10")
        need(self.warmup_steps >= 0, "train.warmup_steps", self.warmup_steps, "give 0 or more steps")
        need(0 <= self.final_rate <= 1, "train.final_rate", self.final_rate, "give a share of the peak in [0, 1]")
        need(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "give 0 or more")
        need(0 < self.beta2 < 1, "train.beta2", self.beta2, "give a rate in (0, 1), such as 0.99")
        need(self.clip >= 0, "train.clip", self.clip, "give 0 (off) or a norm, such as 1.0")
        need(0 <= self.ema < 1, "train.ema", self.ema, "give 0 (off) or a decay such as 0.999")
        need(0 <= self.seed < 2**32, "train.seed", self.seed, "give a seed from 0 to 4294967295")
        for name in ("log_every", "checkpoint_every", "keep"):
            need(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "use at least 1")
        need(self.preview_every >= 0, "train.preview_every", self.preview_every, "give 0 (off) or a number of steps")


@dataclass(frozen=True)
class TokenizerRun:
    """Train the tokenizer (stage one).

    Args:
        out: Folder of the run: resolved configuration, log, previews, checkpoints and, at the end, the model.
        resume: Go on from the last complete checkpoint in out.
        data: Images.
        tokenizer: Network and codebook.
        loss: Reconstruction loss.
        train: Training loop.
    """

    out: str = "runs/tokenizer"
    resume: bool = False
    data: DataConfig = field(default_factory=lambda: DataConfig(image_size=16, channels=1))
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss: TokenizerLossConfig = field(default_factory=TokenizerLossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        need(self.data.image_size != 0, "data.image_size", 0, "give the side in pixels to train at, such as 64")
        need(self.data.channels != 0, "data.channels", 0, "give 1 for grey or 3 for colour")
        self.tokenizer.grid(self.data.image_size)
        need(self.train.optimizer == "adamw", "train.optimizer", self.train.optimizer, "the tokenizer is convolutional: use adamw")


@dataclass(frozen=True)
class DiffusionRun:
    """Train the diffusion model (stage two) on the codes of a trained tokenizer.

    Args:
        out: Folder of the run: resolved configuration, log, previews, checkpoints and, at the end, the pipeline.
        resume: Go on from the last complete checkpoint in out.
        tokenizer: Folder of the trained tokenizer, or of the run that trained it.
        cache: Folder for cached codes (default ~/.cache/d3pm_image/codes).
        data: Images; image_size and channels are the tokenizer's own and need not be given.
        process: Corruption process.
        denoiser: Network.
        loss: Objective.
        sampler: Sampler of the previews, stored as the model's default.
        train: Training loop.
    """

    out: str = "runs/diffusion"
    resume: bool = False
    tokenizer: str = "runs/tokenizer"
    cache: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    loss: DiffusionLossConfig = field(default_factory=DiffusionLossConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
