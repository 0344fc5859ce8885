"""Dropping codes that a data set does not use: the same images, numbered anew, and a second stage that trains on them."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import ConfigError, TokenizerConfig
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.codebook_pruning import keep_codes
from d3pm_image.tokenizer.quantizers import FSQ, QUANTIZERS


def fitted(quantizer: str) -> Autoencoder:
    """A small tokenizer whose codebook was fitted to features of noise."""
    torch.manual_seed(0)
    tokenizer = Autoencoder(
        TokenizerConfig(
            downsampling=2,
            multipliers=(1,),
            width=8,
            quantizer=QUANTIZERS[quantizer](num_codes=16, code_dim=4),
        ),
        3,
    )
    for _ in range(3):
        tokenizer(torch.rand(8, 3, 8, 8))
    return tokenizer.eval()


@pytest.mark.parametrize("quantizer", ["ema", "cosine"])
def test_kept_codes_mean_what_they_meant(quantizer):
    tokenizer = fitted(quantizer)
    kept = [9, 2, 11, 5, 0, 7]
    small = keep_codes(tokenizer, kept)
    codes = torch.randint(len(kept), (4, 4, 4), generator=torch.Generator().manual_seed(1))
    assert small.num_codes == 6 and tokenizer.num_codes == 16
    assert torch.equal(small.decode(codes), tokenizer.decode(torch.tensor(kept)[codes]))
    images = torch.rand(32, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    before, after = tokenizer.encode(images), torch.tensor(kept)[small.encode(images)]
    known = torch.isin(before, torch.tensor(kept))
    assert 0 < known.float().mean() < 1 and torch.equal(
        before[known], after[known]
    )  # the others go to a code that is left


def test_what_cannot_be_kept_is_said():
    tokenizer = fitted("ema")
    for kept in ([], [3], [3, 3], [3, 16]):
        with pytest.raises(ConfigError, match="codes"):
            keep_codes(tokenizer, kept)
    levels = Autoencoder(
        TokenizerConfig(downsampling=2, multipliers=(1,), width=8, quantizer=FSQ(levels=(4, 5, 3))), 3
    )
    with pytest.raises(ConfigError, match="quantizer='fsq': has no codebook"):
        keep_codes(levels, [1, 2])
