"""Images in memory, and a tokenizer that is trained on them from Python."""

from __future__ import annotations

import numpy as np

from d3pm_image import (
    train_tokenizer,
)

LOOP = {
    "steps": 4,
    "batch_size": 16,
    "warmup_steps": 1,
    "preview_every": 2,
    "checkpoint_every": 2,
    "log_every": 1,
}
TOKENIZER = {"downsampling": 2, "multipliers": [1], "width": 8, "quantizer": {"num_codes": 16, "code_dim": 4}}
DENOISER = {"width": 32, "depth": 1, "heads": 2}


def toy(count=60, channels=1, seed=0):
    """Images (count, 8, 8[, 3]) uint8 and labels."""
    random = np.random.default_rng(seed)
    shape = (count, 8, 8) if channels == 1 else (count, 8, 8, channels)
    return random.integers(0, 256, shape, np.uint8), np.arange(count) % 3


def tokenizer_of(folder, images=None, **settings):
    return train_tokenizer(
        toy() if images is None else images, out=folder, tokenizer=TOKENIZER, **{"train": LOOP, **settings}
    )
