"""The conformance checks pass the library's own networks and a foreign one, and name what a broken one breaks."""

from __future__ import annotations

import runpy

import pytest
import torch
from helpers.paths import ROOT
from torch import nn

from d3pm_image.config import DenoiserConfig, DiffusionLossConfig, SamplingConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.recipes.diffusion import make_loss
from d3pm_image.sampling.choice import make_sampler
from d3pm_image.sampling.loop import draw_codes
from d3pm_image.sampling.request import Request
from d3pm_image.testing import check_denoiser, check_tokenizer, check_trainable
from d3pm_image.training.random import StepRandom


def test_own_networks_conform(pipe):
    check_denoiser(pipe.denoiser, pipe.denoiser.num_codes, pipe.denoiser.num_classes, pipe.grid)
    check_denoiser(pipe.predict, pipe.denoiser.num_codes, pipe.denoiser.num_classes, pipe.grid)
    check_tokenizer(pipe.tokenizer, pipe.image_size)


def test_the_foreign_network_of_the_docs_conforms():
    own = runpy.run_path(str(ROOT / "examples" / "foreign_denoiser.py"))
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


CODES, CLASSES, GRID = 6, 2, (2, 4)
PATTERNS = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 1], [5, 5, 3, 3, 1, 1, 0, 0]])
"""The one grid of each class."""


class Mixer(nn.Module):
    """A network that owes nothing to the library's: two layers over all tokens of a grid at once."""

    def __init__(self, width: int = 8):
        super().__init__()
        tokens = GRID[0] * GRID[1]
        self.num_codes, self.num_classes = CODES, CLASSES
        self.tokens, self.classes = nn.Embedding(CODES + 1, width), nn.Embedding(CLASSES + 1, width)
        self.layers = nn.Sequential(
            nn.Linear(width * (tokens + 1), 64), nn.SiLU(), nn.Linear(64, tokens * width)
        )
        self.head = nn.Linear(width, CODES)

    def forward(self, x_t, kappa, labels, grid, where=None, head=True, keys=None):
        seen = torch.cat([self.tokens(x_t).flatten(1), self.classes(labels) + kappa[:, None].float()], 1)
        features = self.layers(seen).view(*x_t.shape, -1)
        return self.head(features) if head else features


@pytest.mark.integration
@pytest.mark.parametrize("fused", [False, True])
def test_a_foreign_denoiser_trains_with_the_loss_and_draws_what_it_learnt(fused):
    torch.manual_seed(0)
    network, process = Mixer(), Process(CODES, ConstantShare("linear", 0.1), 20)
    check_trainable(network, GRID)
    loss = make_loss(process, DiffusionLossConfig(auxiliary=1.0, fused=fused), GRID)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    labels = torch.arange(64) % CLASSES
    totals = []
    for step in range(150):
        random = StepRandom(0, step, 64, slice(0, 64), torch.device("cpu"))
        total, found = loss(network, {"codes": PATTERNS[labels], "labels": labels}, random)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
        assert found["bound_nats"] >= 0
    assert totals[-1] < 0.2 * totals[0]
    request = Request(make_sampler("ancestral"), SamplingConfig(steps=20))
    codes = draw_codes(network.eval(), process, request, labels, CLASSES, GRID)
    assert (codes == PATTERNS[labels]).all(1).double().mean() > 0.9


def test_a_foreign_denoiser_has_one_loss_plain_and_fused():
    torch.manual_seed(0)
    network, process, labels = (
        Mixer(),
        Process(CODES, ConstantShare("linear", 0.1), 20),
        torch.arange(8) % CLASSES,
    )
    totals, gradients = [], []
    for fused in (False, True):
        random = StepRandom(0, 3, 8, slice(0, 8), torch.device("cpu"))
        loss = make_loss(process, DiffusionLossConfig(fused=fused), GRID)
        totals.append(loss(network, {"codes": PATTERNS[labels], "labels": labels}, random)[0])
        gradients.append(torch.autograd.grad(totals[-1], list(network.parameters())))
    torch.testing.assert_close(totals[0], totals[1])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.2}, {"patch": 2, "width": 64}])
def test_the_own_denoiser_is_trainable(settings):
    network = Transformer(DenoiserConfig(**{"width": 32, "depth": 1, "heads": 2, **settings}), CODES, CLASSES)
    nn.init.normal_(network.head.weight)
    check_trainable(network.eval(), GRID)
    assert not network.training


class Broken(Mixer):
    """One thing wrong at a time."""

    def __init__(self, fault):
        super().__init__()
        self.fault, self.idle = (
            fault,
            nn.Linear(2, 2) if fault == "no gradient reaches idle.weight, idle.bias" else None,
        )
        self.head = nn.Linear(8, CODES, bias="no bias" not in fault)

    def forward(self, x_t, kappa, labels, grid, where=None, head=True, keys=None):
        out = super().forward(x_t, kappa, labels, grid, where, head, keys)
        if self.fault == "features have the shape" and not head:
            return out[:, 1:]
        if self.fault == "does not make the logits" and not head:
            return out + 1
        return (
            nn.functional.dropout(out, 0.5, self.training) if "than a row and its key" in self.fault else out
        )


FAULTS = (
    "no bias",
    "features have the shape",
    "does not make the logits",
    "more than a row and its key",
    "no gradient reaches idle.weight, idle.bias",
)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_trainable_denoiser_is_named_and_stays_in_its_mode(fault):
    network = Broken(fault)
    with pytest.raises(AssertionError, match=fault):
        check_trainable(network, GRID)
    assert network.training
