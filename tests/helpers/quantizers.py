"""A small one of every quantizer: the row that a new one gets in the tests."""

from __future__ import annotations

from typing import Any

import torch

from d3pm_image.config import TokenizerConfig
from d3pm_image.tokenizer.quantizer import QuantizerModule
from d3pm_image.tokenizer.quantizers import QUANTIZERS, Quantizer

SMALL: dict[str, dict[str, Any]] = {
    "ema": {"num_codes": 16, "code_dim": 4},
    "cosine": {"num_codes": 16, "code_dim": 4},
    "simvq": {"num_codes": 16, "code_dim": 4},
    "fsq": {"levels": (4, 5, 3)},
    "lfq": {"num_codes": 16},
    "bsq": {"num_codes": 16},
}


def small(name: str, **changes) -> Quantizer:
    return QUANTIZERS.make(name, **SMALL[name] | changes)


def network(name: str) -> TokenizerConfig:
    return TokenizerConfig(downsampling=2, multipliers=(1,), width=8, quantizer=small(name))


def started(quantizer: Quantizer, **arguments) -> QuantizerModule:
    """An eval-mode module whose codebook, where it has one, was fitted to features."""
    torch.manual_seed(0)
    module = QuantizerModule(quantizer, **arguments).eval()
    module(features(quantizer, 4, 16))
    return module


def features(quantizer: Quantizer, count: int, side: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, quantizer.vector_dim, side, side, generator=torch.Generator().manual_seed(seed))
