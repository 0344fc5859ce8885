"""The transformer: shapes, what it may and may not look at, and what it knows at the start."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers.paths import ROOT
from torch.nn import functional as F

from benchmarks.speed.attention import PRECISIONS, advice
from d3pm_image.config import ConfigError, DenoiserConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.dropout import dropout, stream
from d3pm_image.denoiser.layers import PLAIN_UP_TO, Places, attend, rotary_table, rotate
from d3pm_image.denoiser.patches import patchify, unpatchify
from d3pm_image.training.random import StepRandom
from d3pm_image.types import Denoiser


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
    for changed in (
        call(network, other),
        call(network, x, kappa=0.9),
        call(network, x, label=3),
        call(network, x, grid=(4, 3)),
    ):
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
    torch.testing.assert_close(
        attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v), atol=1e-5, rtol=1e-4
    )


def test_a_grid_that_does_not_fit_is_refused(network):
    with pytest.raises(ConfigError, match="12 tokens"):
        call(network, torch.randint(12, (1, 12)), grid=(3, 5))


@pytest.mark.parametrize(
    "change",
    [{"heads": 3}, {"width": 24, "heads": 4}, {"depth": 0}, {"dropout": 1.0}, {"patch": 0}, {"patch": -2}],
)
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ConfigError, match=r"denoiser\."):
        DenoiserConfig(**change)


def patched(patch: int = 2, started: bool = True, **settings) -> Transformer:
    """A network with p × p cells per token; ``started`` gives weight to what begins at zero."""
    torch.manual_seed(0)
    model = Transformer(
        DenoiserConfig(**{"width": 32, "depth": 2, "heads": 2, "patch": patch, **settings}), 11, 3
    ).eval()
    if started:
        torch.nn.init.normal_(model.head.weight, std=0.3)
        for block in model.blocks:
            torch.nn.init.normal_(block.modulation.weight, std=0.1)
    return model


@pytest.mark.parametrize("patch, grid", [(1, (4, 6)), (2, (4, 6)), (2, (2, 2)), (3, (6, 3)), (4, (4, 12))])
def test_features_of_every_cell_go_through_one_head(patch, grid):
    model, n = patched(patch), grid[0] * grid[1]
    x, kappa, labels = torch.randint(12, (2, n)), torch.rand(2), torch.tensor([0, 3])
    with torch.no_grad():
        logits, features = model(x, kappa, labels, grid), model.hidden(x, kappa, labels, grid)
        assert torch.equal(features, model(x, kappa, labels, grid, head=False))
        assert logits.shape == (2, n, 11) and features.shape == (2, n, model.config.cell_width)
        assert torch.equal(logits, torch.nn.functional.linear(features, model.head.weight, model.head.bias))


@pytest.mark.parametrize("patch, grid", [(1, (2, 3)), (2, (4, 6)), (3, (3, 9)), (4, (12, 4))])
def test_patches_hold_their_cells_and_give_them_back_in_order(patch, grid):
    numbers = torch.arange(grid[0] * grid[1])
    cells = torch.stack([numbers, numbers + 0.5], -1)[None].repeat(2, 1, 1)
    tokens = patchify(cells, grid, patch)
    assert torch.equal(unpatchify(tokens, grid, patch), cells)
    for row in range(grid[0]):
        for column in range(grid[1]):
            token = row // patch * (grid[1] // patch) + column // patch
            place = row % patch * patch + column % patch
            assert float(tokens[0, token, 2 * place]) == row * grid[1] + column


@pytest.mark.parametrize("changed", [(0, 0), (1, 2), (3, 5), (2, 4)])
def test_without_attention_a_cell_reaches_its_patch_and_its_neighbours(changed):
    """Row-major order through the whole network: blocks that do nothing leave the patch and the 3 × 3 convolution."""
    model, grid = patched(depth=1), (4, 6)
    for linear in (model.blocks[0].attention.out, model.blocks[0].feed_forward.out):
        torch.nn.init.zeros_(linear.weight)
    x = torch.randint(11, (1, 24))
    other = x.clone()
    other[0, changed[0] * 6 + changed[1]] = 11
    moved = (call(model, other, grid=grid) - call(model, x, grid=grid)).abs().amax(-1)[0].view(grid) > 1e-6
    for row in range(4):
        for column in range(6):
            same_patch = (row // 2, column // 2) == (changed[0] // 2, changed[1] // 2)
            neighbours = abs(row - changed[0]) <= 1 and abs(column - changed[1]) <= 1
            assert bool(moved[row, column]) == (same_patch or neighbours), (row, column)


def test_every_input_of_a_patched_network_matters():
    model = patched()
    x = torch.randint(11, (1, 24))
    base = call(model, x, grid=(4, 6))
    other = x.clone()
    other[0, 23] = 11
    for changed in (
        call(model, other, grid=(4, 6)),
        call(model, x, 0.9, grid=(4, 6)),
        call(model, x, label=3, grid=(4, 6)),
    ):
        assert ((changed - base).abs().amax(-1) > 1e-6).all()


def test_a_patched_network_starts_uniform_and_every_weight_learns():
    model = patched(started=False).train()
    x, labels = torch.randint(12, (8, 24)), torch.randint(4, (8,))
    logits = model(x, torch.rand(8), labels, (4, 6))
    assert bool((logits == 0).all())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    reached = set()
    for _ in range(4):
        logits = model(x, torch.rand(8), labels, (4, 6))
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten() % 11).backward()
        reached |= {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
        optimizer.step()
        optimizer.zero_grad()
    assert reached == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    "patch, grid, fitting",
    [(3, (4, 6), "1, 2"), (4, (4, 6), "1, 2"), (8, (4, 4), "1, 2, 4"), (2, (3, 5), "1")],
)
def test_a_patch_that_does_not_divide_the_grid_is_refused(patch, grid, fitting):
    model = patched(patch)
    with pytest.raises(
        ConfigError,
        match=rf"^denoiser.patch={patch}: does not divide the {grid[0]}x{grid[1]} grid of codes; use one of {fitting}$",
    ):
        call(model, torch.zeros(1, grid[0] * grid[1], dtype=torch.int64), grid=grid)


def test_one_cell_a_token_is_the_network_as_it_was():
    """Names and shapes of weights that older models hold, and settings without ``patch`` and ``places``."""
    config = DenoiserConfig(width=32, depth=1, heads=2, mlp_ratio=2.0, dropout=0.0, places=False)
    block = {
        "norms": ("attention.query_norm.weight", "attention.key_norm.weight"),
        "matrices": {
            "attention.qkv": (96, 32),
            "attention.out": (32, 32),
            "feed_forward.gate_up": (128, 32),
            "feed_forward.out": (32, 64),
        },
    }
    shapes = {
        "tokens.weight": (12, 32),
        "classes.weight": (4, 32),
        "head.weight": (11, 32),
        "head.bias": (11,),
    }
    shapes |= {"level.network.0.weight": (32, 64), "level.network.0.bias": (32,)}
    shapes |= {
        "level.network.2.weight": (32, 32),
        "level.network.2.bias": (32,),
        "modulation.weight": (64, 32),
        "modulation.bias": (64,),
    }
    shapes |= {f"blocks.0.{name}": (16,) for name in block["norms"]}
    shapes |= {f"blocks.0.{name}.weight": shape for name, shape in block["matrices"].items()}
    shapes |= {"blocks.0.modulation.weight": (192, 32), "blocks.0.modulation.bias": (192,)}
    assert {name: tuple(p.shape) for name, p in Transformer(config, 11, 3).state_dict().items()} == shapes
    assert config.patch == 1 and config.cell_width == 32 and config.token_grid((3, 5)) == (3, 5)


def test_dropout_belongs_to_the_row_and_not_to_the_batch():
    """Rows keep their masks in any division of the batch; places, rows, keys and layers have masks of their own, at the asked rate."""
    keys = StepRandom(0, 5, 64, slice(0, 64), torch.device("cpu")).keys()
    part = StepRandom(0, 5, 64, slice(16, 32), torch.device("cpu")).keys()
    assert torch.equal(keys[16:32], part) and keys.unique().numel() == 64
    ones = torch.ones(64, 7, 33)
    whole = dropout(ones, 0.3, keys)
    assert torch.equal(whole[16:32], dropout(ones[16:32], 0.3, part))
    assert whole.unique().tolist() == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    kept = (whole != 0).double()
    assert float(kept.mean()) == pytest.approx(0.7, abs=4 * (0.21 / kept.numel()) ** 0.5)
    for axes in ((1, 2), (0, 2), (0, 1)):  # no row, token or channel is favoured
        share = kept.mean(axes)
        assert float((share - 0.7).abs().max()) < 5 * (0.21 * len(share) / kept.numel()) ** 0.5
    flat = kept.flatten(1) - 0.7
    between = (flat @ flat.T / flat.shape[1] / 0.21).fill_diagonal_(0)
    assert float(between.abs().max()) < 5.5 / flat.shape[1] ** 0.5  # rows, 2016 pairs
    layers = torch.stack(
        [(dropout(ones, 0.3, k) != 0).double() - 0.7 for k in stream(keys, 4).unbind(1)]
    ).flatten(1)
    assert (
        float((layers @ layers.T / layers.shape[1] / 0.21 - torch.eye(4)).abs().max())
        < 5 / layers.shape[1] ** 0.5
    )


def test_training_with_dropout_is_the_same_in_parts():
    model = Transformer(DenoiserConfig(width=32, depth=2, heads=2, dropout=0.2, patch=2), 5, 2).train()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, kappa, labels = torch.randint(6, (6, 16)), torch.rand(6), torch.randint(3, (6,))
    keys = StepRandom(0, 0, 6, slice(0, 6), torch.device("cpu")).keys()
    whole = model(x, kappa, labels, (4, 4), keys=keys)
    parts = [model(x[p], kappa[p], labels[p], (4, 4), keys=keys[p]) for p in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.allclose(model(x, kappa, labels, (4, 4), keys=keys + 1), whole)
    with pytest.raises(ConfigError, match="key for every row"):
        model(x, kappa, labels, (4, 4))
    torch.testing.assert_close(
        model.eval()(x, kappa, labels, (4, 4)), model(x, kappa, labels, (4, 4), keys=keys)
    )


def test_places_are_told_apart_on_a_grid_that_looks_alike_everywhere():
    torch.manual_seed(0)
    told, untold = (
        Transformer(DenoiserConfig(width=32, depth=2, heads=2, places=places), 11, 3).eval()
        for places in (True, False)
    )
    x_t, kappa, labels = torch.full((1, 12), 11), torch.tensor([0.9]), torch.tensor([1])
    for model, alike in ((told, False), (untold, True)):
        torch.nn.init.normal_(model.head.weight)
        logits = model(x_t, kappa, labels, (3, 4))[0]
        assert bool(torch.pdist(logits.detach()).min() < 1e-3) == alike


@pytest.mark.parametrize("grid", [(1, 1), (7, 7), (3, 5), (16, 16), (32, 32)])
def test_every_place_has_a_vector_of_its_own(grid):
    torch.manual_seed(0)
    vectors = Places(64)(grid).detach()
    assert vectors.shape == (grid[0] * grid[1], 64) and bool(torch.isfinite(vectors).all())
    if len(vectors) > 1:
        assert torch.pdist(vectors).min() > 0.02 and 0.05 < vectors.std() < 1


def test_a_place_is_the_same_on_a_finer_grid():
    """Centres of 3 cells per side are among those of 9."""
    places = Places(16)
    torch.testing.assert_close(places((9, 9)).view(9, 9, 16)[1::3, 1::3], places((3, 3)).view(3, 3, 16))


@pytest.mark.integration
def test_compiled_dropout_has_the_masks_of_plain_dropout():
    keys = StepRandom(0, 0, 6, slice(0, 6), torch.device("cpu")).keys()
    x = torch.randn(6, 5, 7)
    torch._dynamo.reset()
    assert torch.equal(
        torch.compile(dropout, backend="aot_eager", fullgraph=True)(x, 0.3, keys), dropout(x, 0.3, keys)
    )


@pytest.mark.slow
def test_dropout_compiles_to_native_code():
    """A view of other widths overran its buffer there."""
    keys = StepRandom(0, 0, 6, slice(0, 6), torch.device("cpu")).keys()
    torch._dynamo.reset()
    compiled = torch.compile(dropout, fullgraph=True)
    for size in (7, 64, 513):
        x = torch.randn(6, 5, size)
        assert torch.equal(compiled(x, 0.3, keys), dropout(x, 0.3, keys))


@pytest.mark.parametrize(
    ("kind", "tokens", "plain"),
    [
        (torch.float32, 144, True),
        (torch.float32, 145, False),
        (torch.bfloat16, 576, True),
        (torch.bfloat16, 577, False),
    ],
)
def test_attention_is_plain_products_where_those_train_faster(kind, tokens, plain, monkeypatch):
    """And the same either way."""
    fused = []
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda *given, real=F.scaled_dot_product_attention: (fused.append(1), real(*given))[1],
    )
    q, k, v = torch.randn(3, 1, 1, tokens, 8).to(kind).unbind()
    trained, drawn = attend(q.requires_grad_(), k, v), attend(q.detach(), k, v)
    assert len(fused) == (1 if plain else 2)
    assert torch.allclose(trained, drawn, atol=1e-2 if kind == torch.bfloat16 else 1e-5)


def test_the_rule_for_attention_is_what_the_benchmark_found():
    rows = json.loads((ROOT / "docs/results/benchmark_attention.json").read_text(encoding="utf-8"))["rows"]
    assert {kind: advice(rows, name) for name, kind in PRECISIONS.items()} == PLAIN_UP_TO
