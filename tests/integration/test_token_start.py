"""``token_start`` of stage two: read from the settings, left alone by start_from and by what goes on."""

from __future__ import annotations

import pytest
import torch
from helpers.tiny import TINY_DIFFUSION
from safetensors.torch import load_file

from d3pm_image.cli import train_diffusion
from d3pm_image.config import ConfigError, DiffusionRun
from d3pm_image.tokenizer import load_tokenizer
from d3pm_image.training.checkpoint import checkpoints

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")
QUICK = [
    "--train.steps",
    "1",
    "--train.learning_rate",
    "1e-9",
    "--train.checkpoint_every",
    "1",
    "--train.preview_every",
    "0",
]


def embeddings(folder, *arguments) -> torch.Tensor:
    train_diffusion.main([*TINY_DIFFUSION, *QUICK, *arguments, "--out", str(folder)])
    return load_file(checkpoints(folder / "checkpoints")[-1] / "model.safetensors")["tokens.weight"]


def alike(embedded: torch.Tensor, tokenizer) -> float:
    """Correlation of distances between embeddings and between codes."""
    every = torch.arange(tokenizer.num_codes).view(1, 1, -1)
    vectors = tokenizer.vectors(every)[0, :, 0].T
    pairs = torch.stack([torch.pdist(embedded[: tokenizer.num_codes]), torch.pdist(vectors)])
    return float(torch.corrcoef(pairs)[0, 1])


def test_the_setting_decides(trained, tmp_path):
    name = ["--tokenizer", str(trained / "tokenizer")]
    tokenizer = load_tokenizer(trained / "tokenizer")[0]
    found = {
        start: embeddings(tmp_path / start, *name, "--token_start", start) for start in ("codebook", "random")
    }
    default = embeddings(tmp_path / "default", *name)
    wide = tokenizer.config.quantizer.vector_dim >= 8
    assert torch.equal(default, found["codebook"])
    assert alike(found["random"], tokenizer) < 0.3
    assert (alike(found["codebook"], tokenizer) > 0.9) == wide
    begun = embeddings(tmp_path / "begun", *name, "--start_from", str(tmp_path / "random"))
    torch.testing.assert_close(begun, found["random"], atol=1e-4, rtol=0)


def test_another_word_is_refused():
    with pytest.raises(ConfigError, match="token_start='codebok': use codebook or random"):
        DiffusionRun(token_start="codebok")
