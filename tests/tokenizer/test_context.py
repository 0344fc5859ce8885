"""The decoder sees known pixels around a region that is repainted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.command_line import fails, run
from helpers.tiny import TINY_TOKENIZER
from helpers.tokenizers import small, started
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import ConfigError, TokenizerConfig, TokenizerRun
from d3pm_image.imaging import fill_hidden
from d3pm_image.recipes.context_parts import (
    SEAM,
    border,
    changed,
    draw_count,
    repaint_inputs,
    seam_error,
    with_context,
)
from d3pm_image.recipes.finetune import same_codes
from d3pm_image.recipes.tokenizer_parts import make_loss
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.training.random import StepRandom


def fitted(channels: int = 3, downsampling: int = 4, tile: str = "none", spread: float = 0.3) -> Autoencoder:
    """A tokenizer whose branch says something; with ``spread`` 0 it is a new one."""
    model = started(replace(small(downsampling), context=8, norm="channel"), channels, tile=tile)
    for layer in model.context.leave:
        torch.nn.init.normal_(layer.weight, std=spread) if spread else None
    return model.eval()


def given(model: Autoencoder, count: int = 3, side: int = 16) -> tuple[torch.Tensor, ...]:
    """Codes, images and which of their pixels are known: the left half of the first, and so on."""
    torch.manual_seed(1)
    images = torch.rand(count, model.channels, side, side)
    known = torch.rand(count, side, side) < 0.5
    known[0] = torch.arange(side) < side // 2
    return torch.randint(model.num_codes, (count, *model.grid(side))), images, known


@pytest.mark.parametrize("downsampling", [1, 2, 4, 8])
def test_a_new_branch_and_nothing_known_leave_the_decoder_as_it_is(downsampling):
    new = fitted(downsampling=downsampling, spread=0)
    codes, images, known = given(new)
    assert torch.equal(new.complete(codes, images, known), new.decode(codes))
    trained = fitted(downsampling=downsampling)
    nothing = torch.zeros_like(known)
    assert torch.equal(trained.complete(codes, images, nothing), trained.decode(codes))
    assert not torch.equal(trained.complete(codes, images, known), trained.decode(codes))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_hidden_pixels_are_not_read(channels):
    model = fitted(channels)
    codes, images, known = given(model)
    others = torch.where(known[:, None], images, torch.rand_like(images))
    assert torch.equal(model.complete(codes, images, known), model.complete(codes, others, known))
    others = torch.where(known[:, None], 1 - images, images)
    assert not torch.equal(model.complete(codes, images, known), model.complete(codes, others, known))


def test_an_image_does_not_depend_on_its_batch():
    model = fitted()
    parts = given(model, 5)
    alone = [model.complete(*(x[i : i + 1] for x in parts)) for i in range(5)]
    assert torch.equal(model.complete(*parts), torch.cat(alone))


def test_a_torus_rolls_with_what_is_known():
    model = fitted(tile="both").double()
    codes, images, known = given(model)
    images = images.double()
    here = model.fitted(codes, images, known).roll((4, 8), (2, 3))
    there = model.fitted(codes.roll((1, 2), (1, 2)), images.roll((4, 8), (2, 3)), known.roll((4, 8), (1, 2)))
    assert torch.allclose(here, there, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "at", "shape"),
    [("images", 1, (3, 1, 16, 16)), ("images", 1, (3, 3, 16, 20)), ("known", 2, (3, 8, 16))],
)
def test_other_shapes_are_named(name, at, shape):
    model = fitted()
    parts = list(given(model))
    parts[at] = torch.zeros(shape, dtype=parts[at].dtype)
    with pytest.raises(ConfigError, match=rf"^{name}=.*: give \(3, "):
        model.complete(*parts)


def test_a_folder_keeps_the_branch_and_the_codes_are_those_of_the_model_without_it(tmp_path):
    model = fitted()
    save_tokenizer(model, tmp_path / "a", 16)
    again, _ = load_tokenizer(tmp_path / "a")
    parts = given(model)
    assert again.config.context == 8 and torch.equal(again.complete(*parts), model.complete(*parts))
    without = started(replace(small(), norm="channel"))
    without.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("context.")})
    assert same_codes(model, without) and same_codes(without, model)
    without.encoder[1].weight.data += 0.1
    assert not same_codes(model, without)


def test_regions_hide_some_and_leave_some_and_other_codes_stand_in_them():
    images = torch.rand(200, 3, 16, 16)
    draws = torch.rand(200, draw_count((16, 16), 4), dtype=torch.float64)
    hidden, seen = repaint_inputs(images, draws, 4)
    assert hidden.flatten(1).any(1).all() and not hidden.flatten(1).all(1).any()
    same = (seen == images).flatten(1).all(1).double().mean()
    assert 0.3 < same < 0.7 and (seen - images).abs().max() < 0.2 and seen.min() >= 0 and seen.max() <= 1
    again = repaint_inputs(images, draws, 4)
    assert torch.equal(again[0], hidden) and torch.equal(again[1], seen)


def test_alpha_stays_and_colours_stay_below_it():
    images = torch.rand(100, 4, 8, 8)
    images[:, :3] *= images[:, 3:]
    other = changed(images, torch.rand(100, 3, dtype=torch.float64))
    assert (
        torch.equal(other[:, 3:], images[:, 3:]) and (other[:, :3] <= other[:, 3:]).all() and other.min() >= 0
    )
    assert not torch.equal(other, images)


def test_the_border_is_what_touches_known_pixels():
    hidden = torch.zeros(1, 5, 6, dtype=torch.bool)
    hidden[0, :, 2:] = True
    assert border(hidden).nonzero().tolist() == [[0, y, 2] for y in range(5)]
    output, images = torch.zeros(1, 3, 5, 6), torch.zeros(1, 3, 5, 6)
    output[:, :, :, 2], output[:, :, :, 4] = 0.25, 1.0
    assert float(seam_error(output, images, hidden)) == 0.25


def test_settings_of_a_branch():
    with pytest.raises(ConfigError, match=r"tokenizer.context=12: give a multiple of 8"):
        TokenizerConfig(context=12)
    with pytest.raises(ConfigError, match=r"^tokenizer.context=32: is trained with learn context"):
        TokenizerRun(tokenizer=TokenizerConfig(context=32))
    with pytest.raises(ConfigError, match="learn='context': needs a trained tokenizer"):
        TokenizerRun(learn="context")


def test_other_parts_learn_without_it(capsys):
    config = TokenizerRun(start_from="x", learn="decoder", tokenizer=TokenizerConfig(context=32))
    assert with_context(config).tokenizer.context == 0
    assert "context 32 is left out" in capsys.readouterr().err
    config = TokenizerRun(start_from="x", learn="context")
    assert with_context(config).tokenizer.context == 32 and not capsys.readouterr().err


def test_a_branch_is_trained_resumed_packed_and_used(trained, tmp_path, capsys):
    """Repaints of held-out images get better, everything else stays as it is to the bit."""
    words = ["--start-from", trained / "diffusion", "--learn", "context", "--train.learning_rate", "3e-2"]
    words += ["--data.source", "digits", "--tokenizer.context", "8", "--train.batch_size", "32"]
    words += ["--train.preview_every", "20", "--train.checkpoint_every", "20", "--train.ema", "0.9"]
    run("train-tokenizer", *words, "--out", tmp_path / "c", "--train.steps", "60")
    lines = [json.loads(line) for line in (tmp_path / "c" / "log.jsonl").read_text().splitlines()]
    first, *_, last = [line["val_score"] for line in lines if "val_seam_error" in line]
    assert last < first
    found = scores(trained / "diffusion", tmp_path / "c")
    for name, limit in (("seam_error", 0.99), ("hidden_mse", 0.97)):
        assert found["after"][name] < limit * found["before"][name]
    assert any(path.name.startswith("repainted") for path in (tmp_path / "c").rglob("*.png"))
    old, new = load_tokenizer(trained / "diffusion")[0], load_tokenizer(tmp_path / "c")[0]
    images = torch.rand(4, 1, 8, 8)
    assert torch.equal(old.encode(images), new.encode(images))
    assert torch.equal(old.decode(old.encode(images)), new.decode(old.encode(images)))
    run("train-tokenizer", *words, "--out", tmp_path / "c", "--train.steps", "62", "--resume", "true")
    run("package", trained / "diffusion", "--tokenizer", tmp_path / "c", "--out", tmp_path / "packed")
    run("package", trained / "diffusion", "--out", tmp_path / "plain")
    plain, pipe = (Pipeline.from_pretrained(tmp_path / name) for name in ("plain", "packed"))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8))
    hole = np.zeros((8, 8), bool)
    hole[:, 4:] = True
    one, two = (np.asarray(p.inpaint(image, hole, seed=3)[0]) for p in (plain, pipe))
    assert np.array_equal(one[~hole], np.asarray(image)[~hole]) and np.array_equal(two[~hole], one[~hole])
    assert not np.array_equal(one, two)
    other = np.asarray(image).copy()
    other[hole] = 255 - other[hole]
    assert np.array_equal(np.asarray(pipe.inpaint(Image.fromarray(other), hole, seed=3)[0])[hole], two[hole])
    assert np.array_equal(np.asarray(plain.generate(1, seed=5)[0]), np.asarray(pipe.generate(1, seed=5)[0]))


def scores(before, after) -> dict:
    from d3pm_image.config import DataConfig
    from d3pm_image.data.images import ImageSet
    from d3pm_image.data.sources import open_source
    from d3pm_image.recipes.context_parts import make_repaint_scores

    data = DataConfig(source="digits", image_size=8, channels=1)
    held_out = ImageSet(open_source(data, held_out=True), data)
    score = make_repaint_scores(held_out, torch.device("cpu"), 100)
    return {name: score(load_tokenizer(path)[0]) for name, path in (("before", before), ("after", after))}


def test_a_branch_of_another_width_is_refused(trained, tmp_path, capsys):
    model, info = load_tokenizer(trained / "tokenizer")
    wide = Autoencoder(replace(model.config, context=16), 1)
    wide.load_state_dict(wide.state_dict() | model.state_dict())
    save_tokenizer(wide.eval(), tmp_path / "wide", info.image_size)
    words = ["--start-from", tmp_path / "wide", "--learn", "context", "--data.source", "digits"]
    line = fails(capsys, "train-tokenizer", *words, "--tokenizer.context", "8", "--out", tmp_path / "d")
    assert "tokenizer.context=8: start_from" in line and "has 16" in line
    run(
        "train-tokenizer",
        *words[:2],
        "--learn",
        "decoder",
        *words[4:],
        *TINY_TOKENIZER[-2:],
        "--train.steps",
        "2",
        "--out",
        tmp_path / "e",
    )
    assert load_tokenizer(tmp_path / "e")[0].config.context == 0


def test_every_level_of_the_decoder_is_added_to():
    """Each level's features alone change the image."""
    codes, images, known = given(fitted())
    for level in range(2):
        model = fitted(spread=0)
        torch.nn.init.normal_(model.context.leave[level].weight)
        assert not torch.equal(model.complete(codes, images, known), model.decode(codes)), level


def test_codes_around_a_region_are_those_of_the_filled_image_and_in_it_of_what_is_seen():
    model = fitted()
    images, seen = torch.rand(2, 2, 3, 16, 16)
    hidden = torch.zeros(2, 16, 16, dtype=torch.bool)
    hidden[:, :6, 8:] = True  # parts of two rows and all of two columns of cells
    codes, inside = model.codes_around(images, hidden, seen), torch.zeros(2, 4, 4, dtype=torch.bool)
    inside[:, :2, 2:] = True
    assert torch.equal(codes[inside], model.codes(seen)[inside])
    assert torch.equal(codes[~inside], model.codes(fill_hidden(images, hidden))[~inside])
    assert not torch.equal(model.codes(seen)[inside], model.codes(images)[inside])


def test_the_error_at_the_border_is_part_of_the_loss():
    model, images = fitted(), torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    model.fix_codes(fix_decoder=True)
    config = TokenizerRun(start_from="x", learn="context", tokenizer=model.config)
    random = StepRandom(0, 1, 4, slice(0, 4), torch.device("cpu"))
    total, terms, _ = make_loss(config)(model.train(), {"images": images}, random)
    assert terms["seam"] > 0.05
    assert float(total) == pytest.approx(float(terms["l2"] + SEAM * terms["seam"]), rel=1e-5)


def test_a_repaint_is_fitted_to_the_pixels_that_are_not_marked(trained, monkeypatch):
    """The branch is shown the image as it is, and where it is known."""
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    pipe.tokenizer = fitted_like(pipe.tokenizer)
    shown = []
    real = pipe.tokenizer.complete
    monkeypatch.setattr(pipe.tokenizer, "complete", lambda *parts: shown.append(parts) or real(*parts))
    image = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    hole = np.zeros((8, 8), bool)
    hole[2:5, 3:] = True
    pipe.inpaint(Image.fromarray(image), hole, variants=2, seed=3)
    ((_, pixels, known),) = shown
    assert torch.equal(known, torch.from_numpy(~hole).expand(2, 8, 8))
    assert torch.equal((pixels[0, 0] * 255).round()[~hole], torch.from_numpy(image).float()[~hole])


def fitted_like(tokenizer: Autoencoder) -> Autoencoder:
    """The same with a branch that says something."""
    model = Autoencoder(replace(tokenizer.config, context=8), tokenizer.channels)
    model.load_state_dict(model.state_dict() | tokenizer.state_dict())
    for layer in model.context.leave:
        torch.nn.init.normal_(layer.weight)
    return model.eval()
