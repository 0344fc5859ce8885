"""One small quantizer of every kind."""

from __future__ import annotations

import torch

from d3pm_image.config import TokenizerConfig
from d3pm_image.tokenizer.quantizer import Quantizer

SMALL = {
    "ema": {"num_codes": 16, "code_dim": 4},
    "cosine": {"num_codes": 16, "code_dim": 4},
    "simvq": {"num_codes": 16, "code_dim": 4},
    "fsq": {"num_codes": 60, "levels": (4, 5, 3)},
    "lfq": {"num_codes": 16},
    "bsq": {"num_codes": 16},
}


def settings(quantizer: str, **changes) -> TokenizerConfig:
    return TokenizerConfig(**{"downsampling": 2, "multipliers": (1,), "width": 8, "quantizer": quantizer, **SMALL[quantizer], **changes})


def started(config: TokenizerConfig, **arguments) -> Quantizer:
    """An eval-mode quantizer whose codebook, where it has one, was fitted to features."""
    torch.manual_seed(0)
    quantizer = Quantizer(config, **arguments).eval()
    quantizer(features(config, 4, 16))
    return quantizer


def features(config: TokenizerConfig, count: int, side: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, config.vector_dim, side, side, generator=torch.Generator().manual_seed(seed))
