"""How the decoder doubles the sides, and what old models and runs keep."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from helpers.command_line import fails, run
from helpers.tiny import TINY_TOKENIZER
from torch import nn

from d3pm_image.config import ConfigError, TokenizerConfig
from d3pm_image.pipeline import Pipeline
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.autoencoder import EvenConv2d, SmoothShuffle


def network(upsampling: str, tile: str = "none", **settings) -> Autoencoder:
    """Random weights, the same for all: ``multipliers`` has an entry per halving."""
    torch.manual_seed(0)
    config = TokenizerConfig(
        width=16,
        norm="channel",
        upsampling=upsampling,
        downsampling=2 ** len(settings.get("multipliers", (1, 2))),
        **settings,
    )
    return Autoencoder(config, 3, tile=tile).eval()


@pytest.mark.parametrize("tile", ["none", "x", "both"])
def test_the_filter_is_one_two_one_along_both_sides(tile):
    x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
    wide = nn.functional.pixel_shuffle(x, 2)
    modes = ("reflect" if tile != "both" else "circular", "reflect" if tile == "none" else "circular")
    wide = nn.functional.pad(wide, (0, 0, 1, 1), modes[0])
    wide = nn.functional.pad(wide, (1, 1, 0, 0), modes[1])
    row = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64) / 4
    kernel = (row[:, None] * row).expand(2, 1, 3, 3)
    expected = nn.functional.conv2d(wide, kernel, groups=2)
    assert torch.allclose(SmoothShuffle(tile)(x), expected, rtol=0, atol=1e-14)


def test_every_pattern_of_one_shuffle_becomes_flat_up_to_the_border():
    x = torch.randn(1, 12, 1, 1, dtype=torch.float64).expand(1, 12, 4, 6)
    flat = SmoothShuffle()(x)
    assert torch.allclose(flat, flat[:, :, :1, :1].expand_as(flat), rtol=0, atol=1e-14)


@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 1, 2)])
def test_an_area_of_one_code_is_flat(multipliers):
    """Random weights, no norm over the image, and borders that continue: nothing but the shuffles has a
    period."""
    codes = torch.full((1, 6, 6), 3)
    spread = {
        name: float(network(name, "both", multipliers=multipliers).decode(codes).std((2, 3)).max())
        for name in ("even", "smooth", "shuffle")
    }
    assert spread["even"] < 1e-6 and spread["smooth"] < 1e-6 and spread["shuffle"] > 0.01


def test_an_even_convolution_is_one_with_equal_sums_of_weights():
    """What is left of the weights has the same sum for all four pixels, and differs otherwise."""
    layer = EvenConv2d(3, 8, 3, padding=1).double()
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    found = [
        layer(torch.eye(3, dtype=torch.float64)[i].view(1, 3, 1, 1).expand(1, 3, 6, 6)) for i in range(3)
    ]
    inside = torch.stack(found)[:, 0, :, 2, 2].unflatten(1, (2, 4))  # (inputs, C, 4)
    assert torch.allclose(inside, inside[..., :1].expand_as(inside), rtol=0, atol=1e-12)
    plain = nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    assert not torch.allclose(layer(x), plain)
    with torch.no_grad():  # an even layer is left as it is
        weight = layer.weight.unflatten(0, (-1, 4))
        sums = weight.sum((-2, -1), keepdim=True)
        layer.weight.copy_((weight - (sums - sums.mean(1, keepdim=True)) / 9).flatten(0, 1))
        layer.bias.copy_(layer.bias.unflatten(0, (-1, 4))[:, :1].expand(-1, 4).flatten())
    plain = nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
    assert torch.allclose(layer(x), plain, rtol=0, atol=1e-12)
    assert layer.weight.unflatten(0, (-1, 4)).std(1).min() > 0


def test_all_have_the_same_weights_and_a_folder_remembers_which(tmp_path):
    models = {name: network(name) for name in ("even", "smooth", "shuffle")}
    shapes = [[(name, w.shape) for name, w in m.state_dict().items()] for m in models.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    codes = torch.randint(512, (2, 4, 4))
    for name, model in models.items():
        save_tokenizer(model, tmp_path / name, (16, 16))
        again, _ = load_tokenizer(tmp_path / name)
        assert again.config.upsampling == name and torch.equal(again.decode(codes), model.decode(codes))
    place = tmp_path / "shuffle" / "config.json"
    saved = json.loads(place.read_text())
    (group,) = [value for value in saved.values() if isinstance(value, dict) and "upsampling" in value]
    del group["upsampling"]  # a model from before there was a choice
    place.write_text(json.dumps(saved))
    assert load_tokenizer(tmp_path / "shuffle")[0].config.upsampling == "shuffle"


@pytest.mark.parametrize(("name", "upsampling"), [("fashion-mnist", "shuffle"), ("eurosat", "even")])
def test_models_keep_what_they_were_trained_with(name, upsampling):
    """The file of the first has no word of it."""
    assert Pipeline.from_pretrained(name).tokenizer.config.upsampling == upsampling


def test_others_are_named():
    with pytest.raises(ConfigError, match=r"tokenizer\.upsampling='bilinear': use even, smooth or shuffle"):
        TokenizerConfig(upsampling="bilinear")


def test_an_old_run_goes_on_as_it_began_and_a_decoder_may_be_smoothed(tmp_path, capsys):
    pytest.importorskip("sklearn")
    old = ["--tokenizer.upsampling", "shuffle"]
    run("train-tokenizer", *TINY_TOKENIZER, *old, "--out", tmp_path / "a", "--train.steps", "2")
    for path in [tmp_path / "a" / "config.yaml", *(tmp_path / "a").rglob("*.json")]:
        held = (yaml.safe_load if path.suffix == ".yaml" else json.loads)(path.read_text())
        if forget(held):
            path.write_text(yaml.safe_dump(held) if path.suffix == ".yaml" else json.dumps(held))
    longer = ["--out", tmp_path / "a", "--train.steps", "4", "--resume", "true"]
    run("train-tokenizer", *TINY_TOKENIZER, *longer)
    assert load_tokenizer(tmp_path / "a")[0].config.upsampling == "shuffle"
    line = fails(capsys, "train-tokenizer", *TINY_TOKENIZER, *longer, *old[:1], "smooth")
    assert "tokenizer.upsampling='smooth': the run in" in line and "was begun with 'shuffle'" in line
    changed = ["--start-from", tmp_path / "a", "--learn", "decoder", "--out", tmp_path / "b"]
    run("train-tokenizer", *TINY_TOKENIZER, *changed, *old[:1], "smooth", "--train.steps", "2")
    first, second = (load_tokenizer(tmp_path / name)[0] for name in "ab")
    images = torch.rand(2, 1, 8, 8)
    assert second.config.upsampling == "smooth" and torch.equal(first.encode(images), second.encode(images))


def forget(held) -> bool:
    """Remove the setting wherever it is; whether it was anywhere."""
    if not isinstance(held, (dict, list)):
        return False
    found = isinstance(held, dict) and any(
        held.pop(name, None) for name in ("upsampling", "tokenizer.upsampling")
    )
    return any([found, *map(forget, held.values() if isinstance(held, dict) else held)])
