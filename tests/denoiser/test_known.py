"""What is known is told: a level per token for networks that take one, the average for those that do not, regions in training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from d3pm_image.config import ConfigError, DenoiserConfig, DiffusionLossConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.diffusion.known_regions import DRAWS, known_regions
from d3pm_image.recipes.diffusion import make_loss
from d3pm_image.sampling.levels import takes_token_levels, told_levels
from d3pm_image.sampling.state import DecodeState, ImageStreams
from d3pm_image.testing import check_trainable
from d3pm_image.training.random import StepRandom

GRID, CODES = (4, 6), 12
SIZES = {"width": 32, "depth": 2, "heads": 2}


def network(known_share: float = 0.5, patch: int = 1, spread: bool = True) -> Transformer:
    torch.manual_seed(0)
    found = Transformer(DenoiserConfig(**SIZES, patch=patch, known_share=known_share), CODES, 3)
    if spread:  # weights that begin at 0 say nothing
        for value in found.parameters():
            torch.nn.init.normal_(value, std=0.2)
    return found.eval()


def inputs(batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x_t = torch.randint(CODES + 1, (batch, GRID[0] * GRID[1]), generator=generator)
    known = (torch.rand(x_t.shape, generator=generator) < 0.4) & (x_t < CODES)
    return x_t, torch.linspace(0.2, 0.9, batch), known


def per_token(kappa: Tensor, known: Tensor) -> Tensor:
    return torch.where(known, torch.ones_like(kappa)[:, None], kappa[:, None])


@pytest.mark.parametrize("patch", [1, 2])
def test_known_tokens_change_the_prediction_and_are_told_apart(patch):
    model, (x_t, kappa, known) = network(patch=patch), inputs()
    labels = torch.tensor([0, 1, 3])
    nothing = model(x_t, per_token(kappa, torch.zeros_like(known)), labels, GRID)
    torch.testing.assert_close(nothing, model(x_t, kappa, labels, GRID))
    told = model(x_t, per_token(kappa, known), labels, GRID)
    others = model(x_t, per_token(kappa, known.roll(1, 1)), labels, GRID)
    assert (told - nothing).abs().amax(2).min() > 1e-4 and (told - others).abs().max() > 1e-3
    alone = model(x_t[1:2], per_token(kappa, known)[1:2], labels[1:2], GRID)
    torch.testing.assert_close(alone[0], told[1], atol=1e-4, rtol=1e-4)


def test_known_means_nothing_where_all_tokens_are_clean():
    model, (x_t, kappa, known) = network(), inputs()
    labels, clean = torch.tensor([0, 1, 3]), torch.ones_like(kappa)
    torch.testing.assert_close(
        model(x_t, per_token(clean, known), labels, GRID), model(x_t, clean, labels, GRID)
    )


def test_the_input_begins_at_zero_and_learns():
    model, (x_t, kappa, known) = network(spread=False), inputs()
    labels = torch.tensor([0, 1, 3])
    assert model.known_level is not None and not model.known_level.weight.any()
    torch.nn.init.normal_(model.head.weight)
    model(x_t, per_token(kappa, known), labels, GRID).square().sum().backward()
    assert model.known_level.weight.grad.abs().max() > 0


def test_a_network_without_the_input_refuses_levels_per_token():
    x_t, kappa, known = inputs()
    with pytest.raises(ConfigError, match=r"kappa=\(3, 24\): this network takes one level per image"):
        network(0.0)(x_t, per_token(kappa, known), torch.tensor([0, 1, 3]), GRID)


def test_it_keeps_the_contract_of_denoisers():
    check_trainable(network(), GRID)
    assert takes_token_levels(network()) and not takes_token_levels(network(0.0))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(share):
    with pytest.raises(ConfigError, match=r"denoiser\.known_share"):
        DenoiserConfig(**SIZES, known_share=share)


def state(share: float, x_t: Tensor, unknown: Tensor) -> DecodeState:
    process = Process(CODES, ConstantShare("linear", share), 0)
    return DecodeState(process, x_t, unknown, ImageStreams(0, range(len(x_t))))


def test_one_level_is_the_average_over_unmasked_tokens():
    mask = CODES
    x_t = torch.tensor([[0, 1, 2, mask], [0, mask, mask, mask], [mask] * 4, [0, 1, 2, 3]])
    unknown = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    kappa = torch.tensor([0.4, 0.5, 0.6, 0.7], dtype=torch.float64)
    found = told_levels(state(0.2, x_t, unknown), kappa, ~unknown, per_token=False)
    torch.testing.assert_close(found, torch.tensor([(1 + 2 * 0.4) / 3, 0.5, 0.6, 1.0]).double())
    told = told_levels(state(0.2, x_t, unknown), kappa, ~unknown, per_token=True)
    assert told.shape == x_t.shape and torch.equal(told == 1, ~unknown)
    absorbing = told_levels(state(0.0, x_t, unknown), torch.ones_like(kappa), ~unknown, per_token=True)
    assert absorbing.shape == kappa.shape, "nothing to tell"


@pytest.mark.parametrize("grid", [(1, 2), (2, 2), (7, 7), (4, 6), (16, 16)])
def test_regions_leave_something_known_and_something_unknown(grid):
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(2000, DRAWS + grid[0] * grid[1], generator=generator, dtype=torch.float64)
    known = known_regions(draws, grid)
    assert known.shape == (2000, grid[0] * grid[1])
    assert known.any(1).all() and not known.all(1).any()
    assert (known.double().mean(0) - 0.5).abs().max() < 0.08, "no place is favoured but for chance"
    assert torch.equal(known_regions(draws[5:9], grid), known[5:9]), "an image's region is its own"


def test_regions_are_halves_boxes_strokes_and_cells():
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(400, DRAWS + 64, generator=generator, dtype=torch.float64)
    for kind, steps in {0: 1, 1: 2}.items():  # rows of a half change once at most, those of a box twice
        draws[:, 0] = (kind + 0.5) / 4
        known = known_regions(draws, (8, 8)).view(-1, 8, 8)
        changes = (known[:, :, 1:] != known[:, :, :-1]).sum(-1).amax(1)
        assert changes.max() == steps
    draws[:, 0] = 3.5 / 4
    cells = known_regions(draws, (8, 8)).view(-1, 8, 8)
    assert (cells[:, :, 1:] != cells[:, :, :-1]).sum(-1).amax(1).max() > 4
    draws[:, 0], draws[:, 6] = 2.5 / 4, 0.99
    stroke = known_regions(draws, (8, 8)) ^ (draws[:, 1] < 0.5)[:, None]
    assert 0.1 < stroke.double().mean() < 0.6


class Watched(torch.nn.Module):
    """A network of zeros that keeps what it was asked."""

    num_codes, num_classes = CODES, 3

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(4, CODES)
        self.asked: list[tuple[Tensor, Tensor]] = []

    def forward(self, x_t, kappa, labels, grid, where=None, head=True, keys=None):
        self.asked.append((x_t, kappa))
        hidden = torch.zeros(*x_t.shape, 4, requires_grad=True)
        hidden = hidden + x_t[..., None] / CODES
        self.hidden = hidden
        hidden.retain_grad()
        return self.head(hidden) if head else hidden


@pytest.mark.parametrize("fused", [False, True])
def test_known_tokens_stay_clean_are_told_and_have_no_loss(fused):
    process = Process(CODES, ConstantShare("linear", 0.3), 0)
    batch = {"codes": torch.randint(CODES, (64, 24)), "labels": torch.zeros(64, dtype=torch.long)}
    network = Watched()
    loss = make_loss(process, DiffusionLossConfig(fused=fused), GRID, known_share=0.5)
    total, logs = loss(network, batch, StepRandom(0, 0, 64, slice(0, 64), torch.device("cpu")))
    total.backward()
    ((x_t, kappa),) = network.asked
    known = kappa == 1
    some = known.any(1)
    assert 16 < int(some.sum()) < 48 and torch.equal(x_t[known], batch["codes"][known])
    assert ((x_t != batch["codes"]) & ~known)[some].any()
    gradient = network.hidden.grad.abs().amax(2)
    assert not gradient[known].any() and (gradient[~known] > 0).float().mean() > 0.9
    assert logs["kept_accuracy"][1] == ((x_t == batch["codes"]) & ~known).sum()
    plain = make_loss(process, DiffusionLossConfig(fused=fused), GRID)
    plain(network, batch, StepRandom(0, 0, 64, slice(0, 64), torch.device("cpu")))
    assert network.asked[-1][1].shape == (64,)


def test_both_losses_weigh_unknown_tokens_alike():
    process = Process(CODES, ConstantShare("linear", 0.3), 20)
    batch = {"codes": torch.randint(CODES, (8, 24)), "labels": torch.zeros(8, dtype=torch.long)}
    network, found = Watched(), []
    for fused in (False, True):
        loss = make_loss(process, DiffusionLossConfig(fused=fused), GRID, known_share=1.0)
        found.append(loss(network, batch, StepRandom(0, 0, 8, slice(0, 8), torch.device("cpu"))))
    torch.testing.assert_close(found[0][0], found[1][0])
    for name, value in found[0][1].items():
        torch.testing.assert_close(value, found[1][1][name], check_dtype=False)


def test_a_grid_of_one_token_may_be_known_whole():
    process = Process(CODES, ConstantShare("linear", 0.3), 0)
    batch = {"codes": torch.randint(CODES, (16, 1)), "labels": torch.zeros(16, dtype=torch.long)}
    loss = make_loss(process, DiffusionLossConfig(), (1, 1), known_share=1.0)
    total, logs = loss(Watched(), batch, StepRandom(0, 0, 16, slice(0, 16), torch.device("cpu")))
    assert total.isfinite() and all(value.isfinite().all() for value in logs.values())
