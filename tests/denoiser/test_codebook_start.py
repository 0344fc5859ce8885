"""Token embeddings that start from the tokenizer's codes: as far from each other as these, on the scale of random ones."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import DenoiserConfig
from d3pm_image.denoiser import Transformer

K = 40


def network(patch: int = 1) -> Transformer:
    torch.manual_seed(0)
    return Transformer(DenoiserConfig(width=48, depth=1, heads=2, patch=patch), K, 3)


def codes(width: int) -> torch.Tensor:
    return 3 + torch.randn(K, width, generator=torch.Generator().manual_seed(1)) * torch.linspace(
        0.1, 2, width
    )


@pytest.mark.parametrize("patch", [1, 2])
def test_distances_are_those_of_the_codes(patch):
    """Up to one factor, where the embedding is at least as wide; the mask token and the mean are left out of it."""
    model, vectors = network(patch), codes(8)
    before = model.tokens.weight.detach().clone()
    assert model.tokens.weight.shape[1] >= 8 and model.start_from_codebook(vectors)
    embedded = model.tokens.weight.detach()
    ratio = torch.pdist(embedded[:K]) / torch.pdist(vectors)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=0)
    assert (
        float(embedded[:K].std()) == pytest.approx(0.5, rel=1e-4) and embedded[:K].mean(0).abs().max() < 1e-5
    )
    assert torch.equal(embedded[K], before[K])


def test_wide_codes_keep_near_ones_near():
    model, vectors = network(), codes(200)
    assert model.start_from_codebook(vectors)
    pairs = torch.stack([torch.pdist(model.tokens.weight.detach()[:K]), torch.pdist(vectors)])
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.4


@pytest.mark.parametrize("vectors", [codes(3), torch.full((K, 16), 2.0)], ids=["narrow", "all alike"])
def test_codes_that_say_nothing_leave_random_embeddings(vectors):
    model = network()
    before = model.tokens.weight.detach().clone()
    assert not model.start_from_codebook(vectors) and torch.equal(model.tokens.weight, before)
