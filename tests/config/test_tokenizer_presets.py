"""The presets of configs/tokenizer: their headers tell the truth, and each network runs."""

from __future__ import annotations

import math
import re

import pytest
import torch
from helpers.paths import ROOT

from d3pm_image.config import TokenizerRun
from d3pm_image.parser import parse
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.quantizers import QUANTIZERS

PRESETS = sorted((ROOT / "configs" / "tokenizer").glob("*.yaml"))


def preset(path) -> TokenizerRun:
    return parse("train-tokenizer", TokenizerRun, ["--config", str(path)])


def test_every_size_has_one():
    sizes = {path.stem.removeprefix("tokenizer_") for path in PRESETS}
    assert sizes == {"28_f4", "32_f4", "64_f4", "64_f8", "128_f8", "256_f16"}


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_is_what_its_name_and_header_say(path):
    config = preset(path)
    size, factor = re.fullmatch(r"tokenizer_(\d+)_f(\d+)", path.stem).groups()
    assert (config.data.image_size, config.tokenizer.downsampling) == (int(size), int(factor))
    with torch.device("meta"):
        model = Autoencoder(config.tokenizer, config.data.channels)
    header = " ".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    parameters, field = re.search(r"([\d.]+)M parameters, a code sees (\d+) pixels", header).groups()
    assert float(parameters) == round(sum(p.numel() for p in model.parameters()) / 1e6, 2)
    assert int(field) == model.receptive_field()
    side = config.tokenizer.grid(config.data.image_size)[0]
    assert f"{size}-px" in header and f"{side}x{side} codes" in header


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_runs(path):
    """Forward at 2x3 codes, the whole network."""
    config = preset(path)
    model = Autoencoder(config.tokenizer, config.data.channels).eval()
    f = config.tokenizer.downsampling
    images = torch.rand(1, config.data.channels, 2 * f, 3 * f)
    if config.tokenizer.quantizer.kmeans_start:  # any codebook will do
        model.quantizer.vq._codebook.initted.fill_(True)
        model.quantizer.vq.codebook.normal_()
    codes = model.encode(images)
    assert codes.shape == (1, 2, 3) and int(codes.max()) < config.tokenizer.num_codes
    assert model.decode(codes).shape == images.shape


def test_the_pages_name_every_choice_and_preset():
    names = ("tokenizer", "tokenizer_quantizers", "tokenizer_losses")
    page, quantizers, losses = ((ROOT / "docs" / f"{n}.md").read_text(encoding="utf-8") for n in names)
    assert [name for name in QUANTIZERS if f"| `{name}` |" not in quantizers] == []
    for name, kind in QUANTIZERS.items():
        row = next(line for line in quantizers.splitlines() if line.startswith(f"| `{name}` |"))
        assert name in ("cosine", "bsq") or all(f"`{field}`" in row for field in kind.types())
    assert [
        n
        for n in ("l2", "l1", "gradient", "ssim", "perceptual", "adversarial.weight")
        if f"| `{n}` |" not in losses
    ] == []
    assert set(re.findall(r"\| `(tokenizer_\w+)` \|", page)) == {path.stem for path in PRESETS}
    for levels, codes in re.findall(r"([\d,]+\d) is (\d+)", quantizers):
        assert math.prod(map(int, levels.split(","))) == int(codes)
