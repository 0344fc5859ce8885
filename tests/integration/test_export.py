"""Exported graphs give what the networks give, for any number of images and every quantizer."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.quantizers import SMALL, network

from d3pm_image import Pipeline
from d3pm_image.config import DenoiserConfig, ProcessConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.export import export
from d3pm_image.tokenizer import Autoencoder, Pixels


def pipeline(tokenizer, size=8):
    torch.manual_seed(0)
    denoiser = Transformer(DenoiserConfig(width=32, depth=2, heads=2), tokenizer.num_codes, 3)
    for p in denoiser.parameters():  # a zero head would hide everything
        torch.nn.init.normal_(p, std=0.1)
    return Pipeline(tokenizer, denoiser, ProcessConfig(), (size, size), ("a", "b", "c"))


def check(folder, form, tokenizer):
    found = export(pipeline(tokenizer), folder, form)
    assert found.keys() == {"denoiser", "encoder", "decoder"} and max(found.values()) <= 1e-4
    described = json.loads((folder / "config.json").read_text())["graphs"]
    assert all((folder / part["file"]).stat().st_size > 0 for part in described.values())
    return found


QUICK = ("fsq",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
)
def test_graphs_of_every_quantizer(name, tmp_path):
    torch.manual_seed(1)
    check(tmp_path, "pt2", Autoencoder(network(name), 3).eval())


def test_pixels(tmp_path):
    check(tmp_path, "pt2", Pixels(8, 1).eval())


def test_a_denoiser_that_is_told_what_is_known_takes_levels_per_token(tmp_path):
    pipe = pipeline(Pixels(8, 1).eval())
    torch.manual_seed(0)
    pipe.denoiser = Transformer(DenoiserConfig(width=32, depth=2, heads=2, known_share=0.5), 8, 3).eval()
    for p in pipe.denoiser.parameters():
        torch.nn.init.normal_(p, std=0.1)
    found = export(pipe, tmp_path, "pt2")
    described = json.loads((tmp_path / "config.json").read_text())["graphs"]["denoiser"]["inputs"]
    assert described["kappa"]["shape"] == ["images", 64] and found["denoiser"] <= 1e-4
