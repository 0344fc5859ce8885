"""The transformer: shapes, what it may and may not look at, and what it knows at the start."""

from __future__ import annotations

import math

import pytest
import torch

from d3pm_image.config import ConfigError, DenoiserConfig
from d3pm_image.contracts import Denoiser
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.layers import attend, rotary_table, rotate


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Transformer(DenoiserConfig(width=32, depth=2, heads=2), num_codes=11, num_classes=3).eval()
    torch.nn.init.normal_(model.head.weight, std=0.3)
    for block in model.blocks:
        torch.nn.init.normal_(block.modulation.weight, std=0.1)
    return model


def call(model, x, kappa=0.5, label=0, grid=(3, 4)):
    with torch.no_grad():
        return model(x, torch.full((len(x),), kappa), torch.full((len(x),), label), grid)


def test_it_fits_the_protocol_and_gives_k_logits(network):
    assert isinstance(network, Denoiser)
    x = torch.randint(12, (2, 12))
    assert call(network, x).shape == (2, 12, 11)
    assert call(network, torch.randint(12, (1, 35)), grid=(5, 7)).shape == (1, 35, 11)


def test_the_first_loss_is_log_k():
    model = Transformer(DenoiserConfig(width=32, depth=2, heads=2), 11, 3)
    logits = call(model, torch.randint(12, (2, 12)))
    assert float(torch.logsumexp(logits, -1).mean()) == pytest.approx(math.log(11), abs=1e-5)


def test_every_input_matters(network):
    """Another token anywhere, level, class or arrangement of the grid changes the prediction of every token."""
    x = torch.randint(11, (1, 12))
    base = call(network, x)
    other = x.clone()
    other[0, 11] = 11
    for changed in (call(network, other), call(network, x, kappa=0.9), call(network, x, label=3), call(network, x, grid=(4, 3))):
        assert ((changed - base).abs().amax(-1) > 1e-6).all()


def test_rows_of_a_batch_do_not_mix(network):
    x = torch.randint(12, (4, 12))
    torch.testing.assert_close(call(network, x)[2:3], call(network, x[2:3]), atol=1e-5, rtol=1e-4)


def test_rotation_keeps_length_and_depends_on_the_distance_alone():
    cos, sin = rotary_table((6, 6), 16, torch.device("cpu"))
    q, k = torch.randn(16), torch.randn(16)
    everywhere_q, everywhere_k = (rotate(v.expand(1, 1, 36, 16), cos, sin)[0, 0] for v in (q, k))
    torch.testing.assert_close(everywhere_q.norm(dim=-1), q.norm().expand(36), atol=1e-4, rtol=1e-4)
    products = (everywhere_q @ everywhere_k.T).view(6, 6, 6, 6)
    assert products[0, 1, 2, 3] == pytest.approx(float(products[3, 2, 5, 4]), abs=1e-3)
    assert abs(float(products[0, 0, 0, 1] - products[0, 0, 1, 0])) > 1e-3


def test_plain_products_equal_the_fused_attention():
    q, k, v = (torch.randn(2, 2, 9, 8, requires_grad=True) for _ in range(3))
    torch.testing.assert_close(attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v), atol=1e-5, rtol=1e-4)


def test_a_grid_that_does_not_fit_is_refused(network):
    with pytest.raises(ConfigError, match="12 tokens"):
        call(network, torch.randint(12, (1, 12)), grid=(3, 5))


@pytest.mark.parametrize("change", [{"heads": 3}, {"width": 24, "heads": 4}, {"depth": 0}, {"dropout": 1.0}])
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ConfigError, match=r"denoiser\."):
        DenoiserConfig(**change)
