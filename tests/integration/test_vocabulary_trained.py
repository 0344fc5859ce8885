"""A second stage on the codes that a data set uses."""

from __future__ import annotations

import numpy as np
import torch
from helpers.command_line import fails, run
from helpers.tiny import DENOISER, options
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.tokenizer import load_tokenizer


def test_encode_drops_what_its_images_do_not_use_and_training_goes_on_from_there(trained, tmp_path, capsys):
    """Images of one shade of grey use few of the codes; digits use more."""
    folder = tmp_path / "plain" / "only"
    folder.mkdir(parents=True)
    for i in range(30):
        Image.fromarray(np.full((8, 8), 3 * i, np.uint8)).save(folder / f"{i:02d}.png")
    data = ["--data.source", "folder", "--data.root", tmp_path / "plain", "--cache", tmp_path / "cache"]
    small = tmp_path / "small"
    run("encode", "--tokenizer", trained / "tokenizer", *data, "--drop_unused", small)
    whole, info = load_tokenizer(trained / "tokenizer")
    tokenizer, metadata = load_tokenizer(small)
    kept = metadata.metadata["kept_codes"]
    assert f"{len(kept)} of {whole.num_codes} codes are used" in capsys.readouterr().out
    assert 2 <= len(kept) == tokenizer.num_codes < whole.num_codes and metadata.image_size == info.image_size
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
    assert "exists already" in fails(
        capsys, "encode", "--tokenizer", trained / "tokenizer", *data, "--drop_unused", small
    )

    steps = options("train", {"steps": 2, "batch_size": 8, "warmup_steps": 1})
    out = tmp_path / "diffusion"
    run("train-diffusion", "--tokenizer", small, *data, *options("denoiser", DENOISER), *steps, "--out", out)
    assert "no complete checkpoint" not in capsys.readouterr().out
    pipe = Pipeline.from_pretrained(out)
    assert pipe.tokenizer.num_codes == len(kept) and pipe.generate(2, steps=2)[0].size == (8, 8)
