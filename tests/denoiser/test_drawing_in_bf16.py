"""The shorter way through norms and rotary positions that drawings in bf16 take on a processor."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import DenoiserConfig
from d3pm_image.denoiser import Transformer, layers
from d3pm_image.denoiser.precision import logits_of


def network() -> Transformer:
    """With scales of norms that are not 1 and a head that is not 0."""
    torch.manual_seed(0)
    made = Transformer(DenoiserConfig(width=64, depth=2, heads=2), 40, 5).eval()
    for name, weight in made.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
        elif weight.ndim == 2:
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return made


def logits(of: Transformer, bf16: bool) -> torch.Tensor:
    """Of the same codes."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(41, (6, 49), generator=draw)
    with torch.no_grad():
        return logits_of(of, bf16, x, torch.rand(6, generator=draw), torch.arange(6) % 6, (7, 7))


def test_logits_are_as_near_to_those_in_float32_as_without_it(monkeypatch):
    of = network()
    exact, short = logits(of, False), logits(of, True)
    monkeypatch.setattr(layers, "drawing_in_bf16", lambda x: False)
    usual = logits(of, True)
    assert torch.equal(logits(of, False), exact) and not torch.equal(short, usual)
    assert float((short - exact).norm()) < 1.3 * float((usual - exact).norm())


def test_float32_training_and_compiled_networks_take_the_usual_way(monkeypatch):
    used = []
    original = layers.Attention.turned
    monkeypatch.setattr(layers.Attention, "turned", lambda *a: used.append(1) or original(*a))
    of = network()
    logits(of, False)
    with torch.autocast("cpu", torch.bfloat16):
        of(torch.zeros(2, 49, dtype=torch.long), torch.rand(2), torch.zeros(2, dtype=torch.long), (7, 7))
    assert not used
    logits(of, True)
    assert len(used) == 2  # once a block


@pytest.mark.parametrize(("rows", "inputs"), [(40, 512), (200, 512), (40, 64)])
def test_products_are_filled_only_where_rows_are_few_and_long(rows, inputs):
    seen, layer = [], torch.nn.Linear(inputs, 192, dtype=torch.bfloat16)
    layer.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    x = torch.randn(rows, inputs, dtype=torch.bfloat16)
    with torch.no_grad():
        found = layers.product(layer, x)
        assert found.shape == (rows, 192)
        assert seen == [192 if inputs > layers.SHORT and rows < 192 else rows]
        assert torch.allclose(found.float(), layer(x).float(), rtol=2e-2, atol=2e-2)
