"""Configuration: impossible values, YAML and dotted overrides, one-line errors, and help without torch."""

from __future__ import annotations

import pytest

from d3pm_image.config import (
    ConfigError,
    DataConfig,
    DenoiserConfig,
    DiffusionLossConfig,
    ProcessConfig,
    SamplingConfig,
    TokenizerConfig,
    TokenizerLossConfig,
    TokenizerRun,
    TrainConfig,
)
from d3pm_image.tokenizer.quantizers import EMA, LFQ

NAN, INF = float("nan"), float("inf")

REJECTED = [
    (DataConfig, "data.image_size", {"image_size": -1}),
    (DataConfig, "data.image_size", {"image_size": 5000}),
    (DataConfig, "data.image_size", {"image_size": (0, 8)}),
    (DataConfig, "data.image_size", {"image_size": (8, 4097)}),
    (DataConfig, "data.val_share", {"val_share": 0.0}),
    (DataConfig, "data.val_share", {"val_share": 1.0}),
    (DataConfig, "data.val_share", {"val_share": NAN}),
    (DataConfig, "data.limit", {"limit": -1}),
    (DataConfig, "data.workers", {"workers": -1}),
    (DataConfig, "data.memory_mb", {"memory_mb": -1}),
    (DataConfig, "data.root", {"source": "folder", "root": ""}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 3}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 0}),
    (TokenizerConfig, "tokenizer.downsampling", {"downsampling": 32}),
    (TokenizerConfig, "tokenizer.multipliers", {"multipliers": [1]}),
    (TokenizerConfig, "tokenizer.multipliers", {"multipliers": [1, 0]}),
    (TokenizerConfig, "tokenizer.width", {"width": 0}),
    (TokenizerConfig, "tokenizer.width", {"width": 12}),
    (TokenizerConfig, "tokenizer.blocks", {"blocks": 0}),
    (EMA, "tokenizer.quantizer.num_codes", {"num_codes": 1}),
    (EMA, "tokenizer.quantizer.num_codes", {"num_codes": 65536}),
    (EMA, "tokenizer.quantizer.num_codes", {"num_codes": 16.0}),
    (EMA, "tokenizer.quantizer.num_codes", {"num_codes": "16"}),
    (EMA, "tokenizer.quantizer.code_dim", {"code_dim": 0}),
    (EMA, "tokenizer.quantizer.decay", {"decay": 1.0}),
    (EMA, "tokenizer.quantizer.decay", {"decay": -0.1}),
    (EMA, "tokenizer.quantizer.commitment", {"commitment": -1.0}),
    (EMA, "tokenizer.quantizer.commitment", {"commitment": NAN}),
    (EMA, "tokenizer.quantizer.revive_below", {"revive_below": 1.0}),
    (EMA, "tokenizer.quantizer.rotation_trick", {"rotation_trick": "no"}),
    (LFQ, "tokenizer.quantizer.entropy", {"entropy": -0.1}),
    (TokenizerConfig, "tokenizer.quantizer", {"quantizer": "fsq"}),
    (TokenizerLossConfig, "loss.l2", {"l2": -1.0, "l1": 2.0}),
    (TokenizerLossConfig, "loss", {"l2": 0.0, "l1": 0.0}),
    (ProcessConfig, "process.uniform_share", {"uniform_share": 1.01}),
    (ProcessConfig, "process.uniform_share", {"uniform_share": NAN}),
    (ProcessConfig, "process.steps", {"steps": -1}),
    (ProcessConfig, "process.steps", {"steps": 1_000_001}),
    (DenoiserConfig, "denoiser.width", {"width": 4, "heads": 1}),
    (DenoiserConfig, "denoiser.depth", {"depth": 0}),
    (DenoiserConfig, "denoiser.heads", {"heads": 0}),
    (DenoiserConfig, "denoiser.heads", {"heads": 3}),
    (DenoiserConfig, "denoiser.heads", {"width": 60, "heads": 6}),
    (DenoiserConfig, "denoiser.mlp_ratio", {"mlp_ratio": 0.0}),
    (DenoiserConfig, "denoiser.dropout", {"dropout": 1.0}),
    (DiffusionLossConfig, "loss", {"bound": -1.0, "auxiliary": 2.0}),
    (DiffusionLossConfig, "loss", {"bound": 0.0, "auxiliary": 0.0}),
    (DiffusionLossConfig, "loss.label_dropout", {"label_dropout": 1.5}),
    (SamplingConfig, "steps", {"steps": 0}),
    (SamplingConfig, "steps", {"steps": 10_001}),
    (SamplingConfig, "temperature", {"temperature": 0.0}),
    (SamplingConfig, "temperature", {"temperature": INF}),
    (SamplingConfig, "guidance", {"guidance": -1.0}),
    (SamplingConfig, "guidance", {"guidance": INF}),
    (TrainConfig, "train.steps", {"steps": 0}),
    (TrainConfig, "train.batch_size", {"batch_size": 0}),
    (TrainConfig, "train.accumulate", {"accumulate": 0}),
    (TrainConfig, "train.accumulate", {"batch_size": 8, "accumulate": 3}),
    (TrainConfig, "train.learning_rate", {"learning_rate": 0.0}),
    (TrainConfig, "train.learning_rate", {"learning_rate": INF}),
    (TrainConfig, "train.muon_rate", {"muon_rate": 0.0}),
    (TrainConfig, "train.muon_rate", {"muon_rate": INF}),
    (TrainConfig, "train.muon_precision", {"muon_precision": "no"}),
    (TrainConfig, "train.warmup_steps", {"warmup_steps": -1}),
    (TrainConfig, "train.final_rate", {"final_rate": 1.1}),
    (TrainConfig, "train.weight_decay", {"weight_decay": -0.1}),
    (TrainConfig, "train.beta2", {"beta2": 1.0}),
    (TrainConfig, "train.beta2", {"beta2": 0.0}),
    (TrainConfig, "train.clip", {"clip": -1.0}),
    (TrainConfig, "train.ema", {"ema": 1.0}),
    (TrainConfig, "train.seed", {"seed": -1}),
    (TrainConfig, "train.seed", {"seed": 2**32}),
    (TrainConfig, "train.log_every", {"log_every": 0}),
    (TrainConfig, "train.checkpoint_every", {"checkpoint_every": 0}),
    (TrainConfig, "train.keep", {"keep": 0}),
    (TrainConfig, "train.preview_every", {"preview_every": -1}),
]
INFINITE = [
    (EMA, "tokenizer.quantizer.commitment", {"commitment": INF}),
    (TokenizerLossConfig, "loss.l2", {"l2": INF}),
    (DiffusionLossConfig, "loss", {"bound": INF}),
    (DenoiserConfig, "denoiser.mlp_ratio", {"mlp_ratio": INF}),
    (TrainConfig, "train.weight_decay", {"weight_decay": INF}),
]
CHOICES = [
    (DataConfig, "data.channels", {"channels": 5}),
    (DataConfig, "data.crop", {"crop": "centre"}),
    (ProcessConfig, "process.corruption", {"corruption": "sqrt"}),
    (TrainConfig, "train.mixed_precision", {"mixed_precision": "fp8"}),
    (TrainConfig, "train.optimizer", {"optimizer": "sgd"}),
]


def named(case) -> str:
    return f"{case[1]}-{list(case[2].values())[-1]}" if isinstance(case, tuple) else ""


def refused(kind, name: str, values: dict) -> None:
    """One line: the field, the value as given, and a hint."""
    with pytest.raises(ConfigError) as caught:
        kind(**values)
    message, key = str(caught.value), name.rsplit(".", 1)[-1]
    head, _, hint = message.partition(": ")
    assert head.startswith(f"{name}=")
    assert (repr(values[key]) if key in values else str(next(iter(values.values())))) in head
    assert len(hint) > 5 and "\n" not in message


@pytest.mark.parametrize("case", REJECTED, ids=named)
def test_impossible_values_are_refused(case):
    refused(*case)


@pytest.mark.parametrize("case", INFINITE, ids=named)
def test_infinite_values_are_refused(case):
    refused(*case)


@pytest.mark.parametrize("case", CHOICES, ids=named)
def test_choices_are_checked_at_construction_too(case):
    refused(*case)


@pytest.mark.parametrize(
    "data",
    [
        DataConfig(image_size=0, channels=1),
        DataConfig(image_size=16, channels=0),
        DataConfig(image_size=18, channels=1),
    ],
)
def test_the_tokenizer_needs_a_size_that_divides_and_channels(data):
    with pytest.raises(ConfigError, match=r"^data\.(image_size|channels)="):
        TokenizerRun(data=data)


def test_the_tokenizer_refuses_muon():
    with pytest.raises(ConfigError, match=r"^train\.optimizer='muon': .*use adamw"):
        TokenizerRun(train=TrainConfig(optimizer="muon"))


@pytest.mark.parametrize("size, near", [(18, "16"), ((16, 18), "16"), ((30, 61), r"\[32, 60\]"), (1, "4")])
def test_grid_errors_name_a_size_that_works(size, near):
    with pytest.raises(ConfigError, match=rf"not divisible by tokenizer.downsampling=4; use {near}$"):
        TokenizerConfig().grid(size)
