"""A small one of every quantizer: the row that a new one gets in the tests."""

from __future__ import annotations

from typing import Any

from d3pm_image.config import TokenizerConfig
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
