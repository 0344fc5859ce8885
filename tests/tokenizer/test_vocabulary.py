"""Dropping codes that a data set does not use: the same pictures, numbered anew, and a second stage that trains on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.command_line import fails, run
from helpers.tiny import DENOISER, options
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError, TokenizerConfig
from d3pm_image.tokenizer import Autoencoder, load_tokenizer
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


def test_encode_drops_what_its_images_do_not_use_and_training_goes_on_from_there(trained, tmp_path, capsys):
    """Pictures of one shade of grey use few of the codes; digits use more."""
    folder = tmp_path / "plain" / "only"
    folder.mkdir(parents=True)
    for i in range(30):
        Image.fromarray(np.full((8, 8), 3 * i, np.uint8)).save(folder / f"{i:02d}.png")
    data = ["--data.source", "folder", "--data.root", tmp_path / "plain", "--cache", tmp_path / "cache"]
    small = tmp_path / "small"
    run("encode", "--tokenizer", trained / "tokenizer", *data, "--drop_unused", small)
    whole, info = load_tokenizer(trained / "tokenizer")
    tokenizer, facts = load_tokenizer(small)
    kept = facts.facts["kept_codes"]
    assert f"{len(kept)} of {whole.num_codes} codes are used" in capsys.readouterr().out
    assert 2 <= len(kept) == tokenizer.num_codes < whole.num_codes and facts.image_size == info.image_size
    assert torch.equal(
        tokenizer.decode(torch.arange(len(kept)).view(-1, 1, 1)),
        whole.decode(torch.tensor(kept).view(-1, 1, 1)),
    )
    images = torch.stack([torch.full((1, 8, 8), 3 * i / 255) for i in range(30)])
    before, after = whole.encode(images), torch.tensor(kept)[tokenizer.encode(images)]
    same = (before == after).flatten(1).all(1)
    assert (
        same.sum() >= 27 and torch.isin(before[same], torch.tensor(kept)).all()
    )  # 3 are held out and may have codes of their own
    assert "is there already" in fails(
        capsys, "encode", "--tokenizer", trained / "tokenizer", *data, "--drop_unused", small
    )

    steps = options("train", {"steps": 2, "batch_size": 8, "warmup_steps": 1})
    out = tmp_path / "diffusion"
    run("train-diffusion", "--tokenizer", small, *data, *options("denoiser", DENOISER), *steps, "--out", out)
    assert "no complete checkpoint" not in capsys.readouterr().out
    pipe = Pipeline.from_pretrained(out)
    assert pipe.tokenizer.num_codes == len(kept) and pipe.generate(2, steps=2)[0].size == (8, 8)
