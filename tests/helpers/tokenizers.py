"""Small tokenizers that look trained."""

from __future__ import annotations

import torch

from d3pm_image.config import TokenizerConfig
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.quantizers import EMA

LEVELS = {1: (1,), 2: (1,), 4: (1, 2), 8: (1, 1, 2), 16: (1, 1, 1, 2)}


def small(downsampling: int = 4, **changes) -> TokenizerConfig:
    """``changes``: of the quantizer."""
    quantizer = EMA(**{"num_codes": 16, "code_dim": 4, **changes})
    return TokenizerConfig(
        downsampling=downsampling, width=8, multipliers=LEVELS[downsampling], quantizer=quantizer
    )


def started(config: TokenizerConfig, channels: int = 3, **settings) -> Autoencoder:
    """An eval-mode tokenizer whose codebook has been started from features, as a trained one's has."""
    torch.manual_seed(0)
    model = Autoencoder(config, channels, **settings)
    for block in model.modules():  # a fresh residual block adds nothing; trained ones do
        if hasattr(block, "conv2"):
            torch.nn.init.normal_(block.conv2.weight, std=0.1)
    model(torch.rand(4, channels, 32, 32))
    return model.eval()
