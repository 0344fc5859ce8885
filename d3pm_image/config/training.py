"""The training loop, and the two runs that use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ..devices import MixedPrecision
from ..errors import check, finite
from .data import DataConfig, size_pair
from .diffusion import DenoiserConfig, DiffusionLossConfig, ProcessConfig
from .sampling import SamplingConfig
from .tokenizer import TokenizerConfig, pixel_codes, pixel_levels, trains_nothing
from .tokenizer_loss import TokenizerLossConfig
from .worded import worded

GRAPHS = "reduce-overhead"
"""``train.compile`` with CUDA graphs, as torch.compile names it."""


@dataclass(frozen=True)
class TrainConfig:
    """The training loop, the same for both stages.

    Args:
        steps: Optimizer steps in all.
        batch_size: Images per optimizer step, over all processes and accumulation.
        accumulate: Parts that a process computes its share of the batch in, for less memory (same result;
            only the entropy loss of lfq and bsq, and LeCam, look at one part at a time).
        optimizer: adamw, or muon for the denoiser (hidden matrices by Muon, all else by AdamW).
        learning_rate: Peak rate of AdamW.
        muon_rate: Rate of Muon, as a multiple of learning_rate.
        muon_precision: Of the matrix products inside Muon: bf16, float32, or auto: bf16 where the device is
            at least as fast with it. A run keeps its first choice.
        warmup_steps: Steps of linear warm-up; a cosine decay to final_rate follows.
        final_rate: Learning rate at the end, as a fraction of the peak.
        weight_decay: AdamW decay of matrices (not of norms, biases and embeddings).
        beta2: Second-moment rate of AdamW.
        clip: Largest gradient norm; 0 is off.
        ema: Decay of the averaged weights that are validated and exported (it ramps up over the first steps);
            0 is off.
        mixed_precision: no, bf16 (CPU or GPU), fp16 (GPU), or auto: bf16 where the device is at least as fast
            with it, else no. A run keeps its first choice.
        threads: Processor threads; 0 takes those that other programs leave free. A run keeps its first
            choice.
        tf32: On NVIDIA GPUs, round the factors of float32 products and convolutions to 10 mantissa bits
            (TF32), several times as fast; false for full float32. Sums are float32 either way.
        compile: Compile the network with torch.compile: true, false, or auto: if a compiler works, once the
            run shows that it will take half an hour more. The decision holds for the whole run.
            reduce-overhead (NVIDIA GPUs) also replays it as CUDA graphs, for small networks, whose kernels
            take less time than starting them.
        recompute: Recompute activations in the backward pass instead of keeping them: less memory, about a
            third more operations, and the same weights.
        fsdp: Split weights, gradients, moments and averages of the denoiser over the processes, for networks
            too large for one GPU; each block is gathered when it is computed.
        max_skips: Steps in a row that may give a NaN or infinite loss or gradient before training stops; such
            a step changes nothing and is counted in the log. 0 stops at the first.
        overfit_one_batch: A check: train on the first batch only, and report whether the loss falls as it
            should.
        seed: Determines the order of data, noise and initial weights.
        log_every: Steps between log lines.
        preview_every: Steps between preview images and validation; 0 is off.
        patience: Validations in a row without a better score after which training stops; 0 never stops it.
            The best weights by validation are exported either way.
        checkpoint_every: Steps between checkpoints.
        keep: Number of latest checkpoints kept, besides the weights with the best validation.
    """

    steps: int = 1000
    batch_size: int = 64
    accumulate: int = 1
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    muon_rate: float = 10.0
    muon_precision: Literal["auto", "bf16", "float32"] = "auto"
    warmup_steps: int = 100
    final_rate: float = 0.02
    weight_decay: float = 0.01
    beta2: float = 0.99
    clip: float = 1.0
    ema: float = 0.999
    mixed_precision: MixedPrecision = "auto"
    threads: int = worded(0, "those that other programs leave free")
    tf32: bool = True
    compile: bool | Literal["auto", "reduce-overhead"] = "auto"
    recompute: bool = False
    fsdp: bool = False
    max_skips: int = 5
    overfit_one_batch: bool = False
    seed: int = 0
    log_every: int = 20
    preview_every: int = 500
    patience: int = worded(0, "never stops")
    checkpoint_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        self._check_optimizer()
        check(self.steps >= 1, "train.steps", self.steps, "train for at least 1 step")
        known = isinstance(self.compile, bool) or self.compile in ("auto", GRAPHS)
        check(known, "train.compile", self.compile, f"use true, false, auto or {GRAPHS}")
        check(self.batch_size >= 1, "train.batch_size", self.batch_size, "use at least 1")
        divides = self.accumulate >= 1 and self.batch_size % self.accumulate == 0
        hint = f"must divide train.batch_size={self.batch_size}"
        check(divides, "train.accumulate", self.accumulate, hint)
        check(0 <= self.ema < 1, "train.ema", self.ema, "give 0 (off) or a decay such as 0.999")
        check(0 <= self.seed < 2**32, "train.seed", self.seed, "give a seed from 0 to 4294967295")
        check(0 <= self.threads <= 1024, "train.threads", self.threads, "give 0 (choose) to 1024 threads")
        for name in ("log_every", "checkpoint_every", "keep"):
            check(getattr(self, name) >= 1, f"train.{name}", getattr(self, name), "use at least 1")
        hint = "give 0 (stop at the first) or a number of steps"
        check(self.max_skips >= 0, "train.max_skips", self.max_skips, hint)
        hint = "give 0 (off) or a number of steps"
        check(self.preview_every >= 0, "train.preview_every", self.preview_every, hint)
        hint = "give 0 (never stop early) or a number of validations, with train.preview_every over 0"
        sound = self.patience == 0 or (self.patience > 0 and self.preview_every > 0)
        check(sound, "train.patience", self.patience, hint)

    def _check_optimizer(self) -> None:
        """Raises ConfigError for optimizer settings that are out of range or cannot be combined."""
        precision = self.mixed_precision
        hint = f"use one of {', '.join(get_args(MixedPrecision))}"
        check(precision in get_args(MixedPrecision), "train.mixed_precision", precision, hint)
        check(self.optimizer in ("adamw", "muon"), "train.optimizer", self.optimizer, "use adamw or muon")
        hint = "use auto, bf16 or float32"
        known = self.muon_precision in ("auto", "bf16", "float32")
        check(known, "train.muon_precision", self.muon_precision, hint)
        hint = "fp16 scales gradients for one optimizer: use adamw, or mixed_precision bf16"
        check(precision != "fp16" or self.optimizer == "adamw", "train.optimizer", self.optimizer, hint)
        if self.fsdp:
            hint = "fsdp splits matrices, and Muon orthogonalises whole ones: use train.optimizer adamw"
            check(self.optimizer == "adamw", "train.optimizer", self.optimizer, hint)
            hint = "with train.fsdp use bf16 or no"
            check(precision != "fp16", "train.mixed_precision", "fp16", hint)
            hint = "cannot be combined with train.fsdp; leave one of them out"
            check(self.compile in (False, "auto"), "train.compile", self.compile, hint)
        rate, decay = self.learning_rate, self.weight_decay
        hint = "give a positive rate, such as 1e-3"
        check(finite(rate) and rate > 0, "train.learning_rate", rate, hint)
        hint = "give a positive multiple, such as 10"
        check(finite(self.muon_rate) and self.muon_rate > 0, "train.muon_rate", self.muon_rate, hint)
        check(self.warmup_steps >= 0, "train.warmup_steps", self.warmup_steps, "give 0 or more steps")
        hint = "give a share of the peak in [0, 1]"
        check(0 <= self.final_rate <= 1, "train.final_rate", self.final_rate, hint)
        check(finite(decay) and decay >= 0, "train.weight_decay", decay, "give 0 or more")
        check(0 < self.beta2 < 1, "train.beta2", self.beta2, "give a rate in (0, 1), such as 0.99")
        check(self.clip >= 0, "train.clip", self.clip, "give 0 (off) or a norm, such as 1.0")


@dataclass(frozen=True)
class TokenizerRun:
    """Train the tokenizer (stage one).

    Args:
        out: Folder of the run: resolved configuration, log, previews, checkpoints and, at the end, the model.
        resume: Go on from the last complete checkpoint in out.
        start_from: Trained model (a run, a folder, a shipped model or a hub id) whose tokenizer's weights are
            the first ones, and whose network, size and channels are the defaults; empty for new weights.
        learn: all, or the decoder alone: then every image keeps the codes that start_from gives it, and
            diffusion models trained on these remain valid (package --tokenizer). context leaves the decoder
            as it is, too, and trains a branch that fits repainted regions to the pixels around them.
        data: Images.
        tokenizer: Network and codebook.
        loss: Reconstruction loss.
        train: Training loop.

    Example:
        d3pm-image train-tokenizer --data.root photos --data.image-size 64 --out runs/tokenizer
    """

    out: str = "runs/tokenizer"
    resume: bool = False
    start_from: str = ""
    learn: Literal["all", "decoder", "context"] = "all"
    data: DataConfig = field(default_factory=lambda: DataConfig(image_size=16, channels=1))
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    loss: TokenizerLossConfig = field(default_factory=TokenizerLossConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=4000))

    def __post_init__(self) -> None:
        hint = "give the side in pixels to train at, such as 64"
        check(self.data.image_size != 0, "data.image_size", 0, hint)
        check(self.data.channels != 0, "data.channels", 0, "give 1 for grey, 3 for colour, or 4 with alpha")
        self.tokenizer.grid(self.data.image_size)
        hint = "use all, decoder or context"
        check(self.learn in ("all", "decoder", "context"), "learn", self.learn, hint)
        hint = "is trained with learn context, from a trained tokenizer in start_from; leave it out"
        check(
            not self.tokenizer.context or bool(self.start_from),
            "tokenizer.context",
            self.tokenizer.context,
            hint,
        )
        trained = "needs a trained tokenizer: name one with start_from"
        check(self.learn == "all" or bool(self.start_from), "learn", self.learn, trained)
        hint = "the tokenizer is convolutional: use adamw"
        check(self.train.optimizer == "adamw", "train.optimizer", self.train.optimizer, hint)
        hint = "is supported for the denoiser only; leave it out"
        check(not self.train.fsdp, "train.fsdp", True, hint)
        if self.loss.adversarial.weight:
            self.loss.adversarial.check_size(self.data.image_size)
            hint = (
                "fp16 scales gradients for one optimizer, and the discriminator has its own: use bf16 or no"
            )
            check(self.train.mixed_precision != "fp16", "train.mixed_precision", "fp16", hint)


@dataclass(frozen=True)
class DiffusionRun:
    """Train the diffusion model (stage two) on the codes of a trained tokenizer, or on pixels without a stage
    one.

    Args:
        out: Folder of the run: resolved configuration, log, previews, checkpoints and, at the end, the
            pipeline.
        resume: Go on from the last complete checkpoint in out.
        start_from: Trained model (a run, a folder, a shipped model or a hub id) whose denoiser's weights are
            the first ones, and whose tokenizer, process, network and sampler are the defaults; classes are
            matched by name. Empty for new weights.
        tokenizer: Folder of the trained tokenizer, or of the run that trained it; or pixels:LEVELS, such as
            pixels:8, for pixels as codes: so many intensities per colour channel, no stage one. palette:N or
            palette:FILE make the colours of a palette codes: that of the images (all of their colours, or a
            median cut to N) or of a file (an image of indexed colours, .gpl, .hex, .pal, .act).
        token_start: First values of the token embeddings, without start_from: codebook (the tokenizer's code
            vectors, so that similar codes have similar embeddings) or random.
        cache: Folder for cached codes (default ~/.cache/d3pm_image/codes).
        data: Images; image_size and channels are the tokenizer's own and need not be given, except with
            pixels as codes.
        process: Corruption process.
        denoiser: Network.
        loss: Objective.
        sampler: Sampler of the previews, stored as the model's default: its name and its own settings, such
            as {name: renoise, eta: 1}.
        sampling: Settings of the previews that all samplers share, stored as the model's defaults.
        train: Training loop.

    Example:
        d3pm-image train-diffusion --data.root photos --tokenizer runs/tokenizer
    """

    out: str = "runs/diffusion"
    resume: bool = False
    start_from: str = ""
    tokenizer: str = "runs/tokenizer"
    token_start: Literal["codebook", "random"] = "codebook"
    cache: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    loss: DiffusionLossConfig = field(default_factory=DiffusionLossConfig)
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "confidence"})
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    train: TrainConfig = field(default_factory=lambda: TrainConfig(steps=6000, optimizer="muon"))

    def __post_init__(self) -> None:
        hint = "use codebook or random"
        check(self.token_start in ("codebook", "random"), "token_start", self.token_start, hint)
        hint = "computes the uniform kernel alone; use false, or process.kernel uniform"
        fits = not self.loss.fused or self.process.kernel == "uniform"
        check(fits, "loss.fused", self.loss.fused, hint)
        if trains_nothing(self.tokenizer):
            hint = f"give the side in pixels with tokenizer {self.tokenizer}, such as 16"
            check(self.data.image_size != 0, "data.image_size", 0, hint)
            hint = f"give 1 for grey or 3 for colour with tokenizer {self.tokenizer}, 2 or 4 with alpha"
            check(self.data.channels != 0, "data.channels", 0, hint)
            if levels := pixel_levels(self.tokenizer):
                pixel_codes(levels, self.data.channels)
            self.denoiser.token_grid(size_pair(self.data.image_size))


def is_stage_two(settings: Mapping[str, Any]) -> bool:
    """Whether settings, as dictionaries, are those of stage two: by the tokenizer that they name, or a group
    that stage one does not have."""
    own = {field.name for field in fields(DiffusionRun)} - {field.name for field in fields(TokenizerRun)}
    return isinstance(settings.get("tokenizer"), str) or bool(own & set(settings))
