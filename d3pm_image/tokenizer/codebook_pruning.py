"""A tokenizer with fewer codes, because codes that a data set does not use only cost the denoiser logits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from ..config import ConfigError, check
from .autoencoder import Autoencoder
from .quantizers import EMA

CODEBOOK = "quantizer.vq._codebook."
ROWS = ("embed", "embed_avg", "cluster_size")


def keep_codes(tokenizer: Autoencoder, kept: Sequence[int]) -> Autoencoder:
    """The same network whose code i is the old code ``kept[i]``, in eval mode on the CPU.

    Images of kept codes are the same bit for bit; a feature whose nearest code is dropped goes to the
    nearest one that is left.

    Raises:
        ConfigError: a quantizer whose codes are not the rows of a codebook, less than 2 codes, or one that it
            does not have.
    """
    quantizer = tokenizer.config.quantizer
    if not isinstance(quantizer, EMA):
        raise ConfigError(
            "tokenizer.quantizer",
            quantizer.name,
            "has no codebook whose rows could be dropped; use all its codes",
        )
    hint = "keep at least 2 different codes"
    check(len(kept) >= 2 and len(set(kept)) == len(kept), "codes", len(kept), hint)
    hint = f"must lie in 0..{tokenizer.num_codes - 1}"
    check(min(kept) >= 0 and max(kept) < tokenizer.num_codes, "codes", max(kept), hint)
    rows, state = torch.tensor(list(kept)), tokenizer.state_dict()
    for name in ROWS:
        state[CODEBOOK + name] = state[CODEBOOK + name][:, rows.to(state[CODEBOOK + name].device)]
    small = Autoencoder(
        dataclasses.replace(tokenizer.config, quantizer=dataclasses.replace(quantizer, num_codes=len(kept))),
        tokenizer.channels,
        tile=tokenizer.tile,
    )
    small.load_state_dict(state)
    return small.eval()
