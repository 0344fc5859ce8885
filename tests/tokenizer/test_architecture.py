"""What a code sees, what a border does, and sizes: laws of the network alone."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import ConfigError, TokenizerConfig
from d3pm_image.metrics.edit_locality import far_changes
from d3pm_image.metrics.reconstruction import border_ratio
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.quantizers import FSQ

LEVELS = {1: (1,), 2: (1,), 4: (1, 2), 8: (1, 1, 2), 16: (1, 1, 1, 2)}


def network(downsampling: int = 4, channels: int = 1, **changes) -> Autoencoder:
    """An eval-mode network with blocks that do something, as after training, and codes that need no start."""
    torch.manual_seed(0)
    settings = {
        "downsampling": downsampling,
        "width": 8,
        "multipliers": LEVELS[downsampling],
        "quantizer": FSQ(levels=(4, 4, 4)),
    }
    model = Autoencoder(TokenizerConfig(**{**settings, **changes}), channels).eval()
    for block in model.modules():
        if hasattr(block, "conv2"):
            torch.nn.init.normal_(block.conv2.weight, std=0.1)
    return model


def seen(model: Autoencoder, side: int) -> tuple[int, int, int]:
    """First and last row of pixels that the middle code depends on, and that code's first row, by the gradient."""
    images = torch.rand(1, 1, side, side, requires_grad=True)
    features = model.encoder(images * 2 - 1)
    middle = features.shape[2] // 2
    features[0, :, middle, middle].square().sum().backward()
    rows = images.grad[0, 0].abs().sum(1).nonzero().flatten()
    return int(rows[0]), int(rows[-1]), middle * model.downsampling


@pytest.mark.parametrize("downsampling, blocks", [(1, 1), (2, 1), (2, 3), (4, 1), (4, 2), (8, 1), (16, 1)])
def test_the_receptive_field_is_what_the_gradient_sees(downsampling, blocks):
    model = network(downsampling, blocks=blocks, norm="channel")
    field = model.receptive_field()
    side = -(-2 * field // downsampling) * downsampling
    first, last, start = seen(model, side)
    assert last - first + 1 == field
    assert start - first == last - (start + downsampling - 1)  # centred on the cell


def test_group_norm_sees_the_whole_image_and_channel_norm_does_not():
    assert seen(network(norm="group"), 80)[:2] == (0, 79)
    first, last, _ = seen(network(norm="channel"), 80)
    assert first > 0 and last < 79


@pytest.mark.parametrize("width", [64, 80, 100])
def test_codes_out_of_reach_stay_as_they_are_without_statistics_over_the_image(width):
    images = torch.rand(6, 1, 32, width, generator=torch.Generator().manual_seed(1)) * torch.linspace(
        0.1, 1, 6
    ).view(6, 1, 1, 1)
    local, global_ = network(norm="channel"), network(norm="group")
    assert far_changes(local, images, local.receptive_field()) == 0
    assert far_changes(global_, images, global_.receptive_field()) > 0
    assert (
        far_changes(local, images, local.receptive_field() - 2 * local.downsampling) > 0
    )  # the field is not overstated


def test_small_images_have_nothing_out_of_reach():
    model = network()
    with pytest.raises(ValueError, match="no cell out of reach"):
        far_changes(model, torch.rand(2, 1, 24, 24), model.receptive_field())


@pytest.mark.parametrize("padding, even", [("zeros", False), ("replicate", True), ("reflect", True)])
@pytest.mark.parametrize("norm", ["group", "channel"])
def test_a_flat_image_has_codes_of_one_kind_unless_zeros_are_seen_beyond_it(padding, even, norm):
    model = network(padding=padding, norm=norm)
    features = model.encoder(torch.full((1, 1, 32, 48), 0.8) * 2 - 1)
    assert torch.allclose(features, features[:, :, :1, :1].expand_as(features), atol=1e-4) == even


def test_reflection_needs_two_cells_a_side():
    model = network(padding="reflect")
    assert model.decode(model.encode(torch.rand(1, 1, 8, 8))).shape == (1, 1, 8, 8)
    with pytest.raises(
        ConfigError, match=r"reflection needs 2 codes per side, 8 pixels; or use tokenizer\.padding replicate"
    ):
        model.encode(torch.rand(1, 1, 4, 8))
    with pytest.raises(ConfigError, match=r"tokenizer\.padding='mirror'"):
        TokenizerConfig(padding="mirror")
    with pytest.raises(ConfigError, match=r"tokenizer\.norm='batch'"):
        TokenizerConfig(norm="batch")


def test_the_border_ratio_by_hand():
    errors = torch.full((8, 12), 2.0)
    errors[2:6, 2:10] = 1.0
    assert border_ratio(errors, 2) == {"border_ratio": pytest.approx(2.0)}
    assert border_ratio(errors * 0 + 0.3, 2) == {"border_ratio": pytest.approx(1.0)}
    assert border_ratio(errors, 4) == {}


def test_the_names_of_weights_are_those_of_the_first_version():
    """Saved models name them; a bias that moved would be found only by their owners."""
    names = set(network(2, norm="group").state_dict())
    block = {f"{p}.{w}" for p in ("norm1", "conv1", "norm2", "conv2") for w in ("weight", "bias")}
    expected = {
        f"encoder.{n}"
        for n in (
            "1.weight",
            "1.bias",
            "3.weight",
            "3.bias",
            "5.weight",
            "5.bias",
            *(f"2.{b}" for b in block),
        )
    }
    expected |= {
        f"decoder.{n}"
        for n in (
            "0.weight",
            "0.bias",
            "3.weight",
            "3.bias",
            "5.weight",
            "5.bias",
            *(f"{i}.{b}" for i in (1, 2) for b in block),
        )
    }
    assert names == expected


@pytest.mark.parametrize(
    "changes", [{"norm": "channel"}, {"padding": "replicate"}, {"norm": "channel", "padding": "reflect"}]
)
def test_other_norms_and_paddings_are_saved_and_loaded(changes, tmp_path):
    model, images = network(**changes), torch.rand(2, 1, 16, 24)
    save_tokenizer(model, tmp_path, (16, 24))
    again, _ = load_tokenizer(tmp_path)
    assert torch.equal(again.encode(images), model.encode(images))
    assert torch.equal(again.decode(model.encode(images)), model.decode(model.encode(images)))
