"""Images that repeat: rolled in, rolled out."""

from __future__ import annotations

import itertools

import pytest
import torch
from helpers.tokenizers import small, started
from torch.nn import functional as F

from d3pm_image.config import ConfigError, DataConfig, DenoiserConfig, TokenizerConfig, wraps
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.layers import rotary_table
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.torus import TorusConv2d, convolution, whole_turns

TILES = ("x", "y", "both")
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-4}


def moves(tile: str, step: int, sides: tuple[int, int]) -> list[tuple[int, int]]:
    """Rolls (down, right) by multiples of a step along the tiled axes."""
    options = [
        range(0, side, step) if periodic else (0,) for side, periodic in zip(sides, wraps(tile), strict=True)
    ]
    return [move for move in itertools.product(*options) if any(move)]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("padding", ["zeros", "replicate", "reflect"])
@pytest.mark.parametrize(("size", "stride"), [(3, 1), (4, 2)])
def test_each_axis_of_a_convolution_is_padded_in_its_own_way(tile, padding, size, stride):
    layer = convolution(2, 3, size, stride, padding, tile).double()
    x = torch.randn(2, 2, 6, 8, dtype=torch.float64)
    rows, columns = wraps(tile)
    mode = "constant" if padding == "zeros" else padding
    wide = F.pad(x, (1, 1, 0, 0), "circular" if columns else mode)
    wide = F.pad(wide, (0, 0, 1, 1), "circular" if rows else mode)
    assert torch.equal(layer(x), F.conv2d(wide, layer.weight, layer.bias, stride))
    assert isinstance(layer, TorusConv2d) and layer.state_dict().keys() == {"weight", "bias"}


def network(tile: str, downsampling: int, dtype: torch.dtype, **changes) -> Autoencoder:
    torch.manual_seed(0)
    config = small(downsampling)
    config = TokenizerConfig(**{**vars(config), **changes})
    model = Autoencoder(config, 3, tile=tile).to(dtype).eval()
    for name, weight in model.named_parameters():
        if name.endswith("conv2.weight"):  # which begin at zero
            torch.nn.init.normal_(weight, std=0.2)
    return model


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(
    ("downsampling", "changes"),
    [(1, {}), (4, {}), (4, {"norm": "channel", "padding": "reflect"}), (8, {"padding": "replicate"})],
)
def test_rolled_pixels_give_rolled_features_and_rolled_vectors_rolled_pixels(
    tile, dtype, downsampling, changes
):
    """Through encoder and decoder, by every multiple of the downsampling; and not along the other axis."""
    model = network(tile, downsampling, dtype, **changes)
    sides = (4 * downsampling, 6 * downsampling)
    images = torch.randn(2, 3, *sides, dtype=dtype)
    vectors = torch.randn(2, model.config.quantizer.vector_dim, 4, 6, dtype=dtype)
    with torch.no_grad():
        features, decoded = model.encoder(images), model.decoder(vectors)
        for move in moves(tile, downsampling, sides):
            cells = tuple(m // downsampling for m in move)
            away = model.encoder(images.roll(move, (2, 3))) - features.roll(cells, (2, 3))
            back = model.decoder(vectors.roll(cells, (2, 3))) - decoded.roll(move, (2, 3))
            assert max(away.abs().max(), back.abs().max()) < CLOSE[dtype]
        if tile != "both":
            axis = 2 if tile == "x" else 3
            away = model.encoder(images.roll(downsampling, axis)) - features.roll(1, axis)
            assert away.abs().max() > 1e-2


@pytest.mark.parametrize("tile", TILES)
def test_rolled_codes_give_rolled_images(tile):
    model = started(small(4), 3)
    torus = Autoencoder(model.config, 3, tile=tile).eval()
    torus.load_state_dict(model.state_dict())
    codes = torch.randint(model.num_codes, (2, 4, 6), generator=torch.Generator().manual_seed(0))
    images = torus.decode(codes)
    assert not torch.equal(images, model.decode(codes))
    for cells in moves(tile, 1, (4, 6)):
        pixels = tuple(4 * c for c in cells)
        assert (torus.decode(codes.roll(cells, (1, 2))) - images.roll(pixels, (2, 3))).abs().max() < 1e-4
        assert torch.equal(
            torus.encode(images.roll(pixels, (2, 3))), torus.encode(images).roll(cells, (1, 2))
        )


def denoiser(tile: str, patch: int, dtype: torch.dtype, places: bool = True) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(DenoiserConfig(width=32, depth=2, heads=2, patch=patch, places=places), 11, 3, tile)
    for name, weight in model.named_parameters():
        if "modulation" in name or "head" in name:  # which begin at zero
            torch.nn.init.normal_(weight, std=0.2)
    return model.to(dtype).eval()


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("patch", "places"), [(1, True), (2, True), (1, False)])
def test_rolled_codes_give_rolled_logits(tile, dtype, patch, places):
    """By every multiple of the patch, with masks among the codes; and not along the other axis, nor without a
    torus."""
    grid = (6, 8)
    x_t = torch.randint(12, (2, *grid), generator=torch.Generator().manual_seed(1))
    given = torch.tensor([0.3, 0.8]), torch.tensor([0, 3])

    def logits(model: Transformer, codes: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(codes.flatten(1), *given, grid).view(2, *grid, 11)

    model = denoiser(tile, patch, dtype, places)
    found = logits(model, x_t)
    assert found.std() > 0.1 and found.dtype == dtype
    for move in moves(tile, patch, grid):
        away = logits(model, x_t.roll(move, (1, 2))) - found.roll(move, (1, 2))
        assert away.abs().max() < CLOSE[dtype]
    others = [axis for axis, periodic in enumerate(wraps(tile), 1) if not periodic]
    plain = denoiser("none", patch, dtype, places)
    for rolled_by, one in [*((axis, model) for axis in others), (1, plain), (2, plain)]:
        away = logits(one, x_t.roll(patch, rolled_by)) - logits(one, x_t).roll(patch, rolled_by)
        assert away.abs().max() > 1e-3


def test_a_plain_denoiser_is_what_it_was():
    """Tables and places without a torus, bit for bit by the formula of Su et al. 2021."""
    cos, sin = rotary_table((3, 5), 16, torch.device("cpu"))
    rates = 100.0 ** (-torch.arange(4, dtype=torch.float32) / 4)
    rows, columns = (
        a.flatten().float() for a in torch.meshgrid(torch.arange(3), torch.arange(5), indexing="ij")
    )
    angles = torch.cat([rows[:, None] * rates, columns[:, None] * rates], -1)
    assert torch.equal(cos, angles.cos()) and torch.equal(sin, angles.sin())
    assert type(convolution(2, 2, 3)) is torch.nn.Conv2d


@pytest.mark.parametrize("cells", [1, 2, 7, 8, 16, 31, 64])
@pytest.mark.parametrize("rates", [1, 4, 8, 16])
def test_pairs_turn_whole_numbers_of_times_distinct_where_there_are_as_many(cells, rates):
    turns = whole_turns(cells, rates, 100.0)
    most = max(1, cells // 2)
    assert len(turns) == rates and all(isinstance(t, int) and 1 <= t <= most for t in turns)
    assert len(set(turns)) == min(rates, most)
    if rates <= most:
        assert turns == sorted(turns, reverse=True)
    if cells == 64 and rates == 4:
        assert turns == [10, 3, 2, 1]  # 10.2, 3.2, 1.02 and 0.32 without a torus


def test_other_axes_are_refused():
    with pytest.raises(ConfigError, match=r"^data.tile='xy'"):
        DataConfig(tile="xy")  # type: ignore[arg-type]
