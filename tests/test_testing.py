"""The conformance checks pass the library's own networks and a foreign one, and name what a broken one breaks."""

from __future__ import annotations

import runpy

import pytest
import torch
from helpers.paths import ROOT

from d3pm_image.testing import check_denoiser, check_tokenizer


def test_own_networks_conform(pipe):
    check_denoiser(pipe.denoiser, pipe.denoiser.num_codes, pipe.denoiser.num_classes, pipe.grid)
    check_denoiser(pipe.predict, pipe.denoiser.num_codes, pipe.denoiser.num_classes, pipe.grid)
    check_tokenizer(pipe.tokenizer, pipe.image_size)


def test_the_foreign_network_of_the_docs_conforms():
    own = runpy.run_path(str(ROOT / "docs" / "examples" / "foreign_denoiser.py"))
    check_denoiser(own["Foreign"]().eval(), own["CODES"], 0, own["GRID"])


BROKEN = {
    "shape": lambda x_t, k, c, g, w: torch.zeros(*x_t.shape, 6),
    "not all finite": lambda x_t, k, c, g, w: torch.full((*x_t.shape, 5), torch.nan),
    "not a floating point": lambda x_t, k, c, g, w: torch.zeros(*x_t.shape, 5, dtype=torch.long),
    "asked for differ": lambda x_t, k, c, g, w: torch.full((*x_t.shape, 5), 0.0 if w is None else 1.0),
    "other images of its batch": lambda x_t, k, c, g, w: torch.full((*x_t.shape, 5), float(len(x_t))),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_denoiser_is_named(words):
    with pytest.raises(AssertionError, match=words):
        check_denoiser(BROKEN[words], 5, 2, (2, 3))


@pytest.mark.parametrize(
    ("method", "broken", "words"),
    [
        ("encode", lambda real: lambda images: real(images).float(), "not int64"),
        ("encode", lambda real: lambda images: real(images) + 512, "there are 512"),
        ("encode", lambda real: lambda images: real(images).flatten(1), r"not \(B, H, W\)"),
        ("decode", lambda real: lambda codes: real(codes) * 255, r"not in \[0, 1\]"),
        ("decode", lambda real: lambda codes: real(codes) / len(codes), "other images of its batch"),
    ],
)
def test_a_broken_tokenizer_is_named(pipe, monkeypatch, method, broken, words):
    monkeypatch.setattr(pipe.tokenizer, method, broken(getattr(pipe.tokenizer, method)))
    with pytest.raises(AssertionError, match=words):
        check_tokenizer(pipe.tokenizer, pipe.image_size)
