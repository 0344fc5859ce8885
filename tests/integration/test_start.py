"""Training that begins with a trained model: settings and weights are taken over, codes stay what they were, and what does not fit is named."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from helpers.command_line import fails, run
from helpers.quantizers import SMALL, network
from helpers.tiny import LOOP, options
from PIL import Image
from safetensors.torch import load_file

from d3pm_image import Pipeline
from d3pm_image.config import DiffusionRun, TokenizerRun
from d3pm_image.parser import parse
from d3pm_image.recipes.finetune import PretrainedModel, same_codes
from d3pm_image.sampling.choice import to_values
from d3pm_image.tokenizer import Autoencoder, load_tokenizer

SHORT = {
    **LOOP,
    "steps": 6,
    "batch_size": 16,
    "preview_every": 3,
    "checkpoint_every": 3,
    "warmup_steps": 1,
    "keep": 9,
}


@pytest.fixture(scope="module")
def decoder_only(trained, tmp_path_factory):
    """A run that taught the decoder of the trained tokenizer alone."""
    out = tmp_path_factory.mktemp("start") / "decoder"
    run(
        "train-tokenizer",
        "--start_from",
        trained / "tokenizer",
        "--learn",
        "decoder",
        *options("train", SHORT),
        "--out",
        out,
    )
    return out


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with two classes, one of which the trained model knows."""
    root = tmp_path_factory.mktemp("images")
    levels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    for number, image in enumerate(levels):
        place = root / ("7" if number % 2 else "seven")
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{number:02d}.png")
    return root


def test_settings_of_the_model_are_the_defaults_and_given_ones_stay(trained, tmp_path):
    model = str(trained / "diffusion")
    pipe = Pipeline.from_pretrained(model)
    found = parse("train-diffusion", DiffusionRun, ["--start_from", model])
    assert (
        found.tokenizer == model
        and found.denoiser == pipe.denoiser.config
        and found.sampler == to_values(pipe.sampler)
    )
    assert (
        found.sampling == pipe.sampling and found.sampling.steps == 4 and found.process == pipe.process_config
    )
    file = tmp_path / "mine.yaml"
    file.write_text(f"start_from: '{model}'\nprocess: {{uniform_share: 0.3}}\nsampling: {{steps: 9}}\n")
    mine = parse("train-diffusion", DiffusionRun, ["--config", str(file), "--sampling.guidance", "2"])
    assert (mine.process.uniform_share, mine.sampling.steps, mine.sampling.guidance) == (0.3, 9, 2.0)
    assert mine.denoiser == pipe.denoiser.config and mine.process.corruption == pipe.process_config.corruption

    config = pipe.tokenizer.config
    stage_one = parse(
        "train-tokenizer", TokenizerRun, ["--start_from", model, "--tokenizer.quantizer.decay", "0.9"]
    )
    assert stage_one.tokenizer == dataclasses.replace(
        config, quantizer=dataclasses.replace(config.quantizer, decay=0.9)
    )
    assert (stage_one.data.image_size, stage_one.data.channels) == (8, 1)


@pytest.mark.parametrize("quantizer", sorted(SMALL))
def test_fixed_codes_stay_through_training(quantizer):
    torch.manual_seed(0)
    model = Autoencoder(network(quantizer), 3, 256)
    images = torch.rand(8, 3, 8, 8)
    for _ in range(3):
        model(images)  # a codebook fits itself to features
    model.fix_codes()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    expected = model.eval().encode(images)
    assert model.train().decoder.training
    learner = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        output, found, own = model(images)
        assert torch.equal(found, expected) and own == 0
        (output - images).square().mean().backward()
        learner.step()
    after = model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)


def test_a_decoder_learns_alone_and_every_image_keeps_its_codes(trained, decoder_only):
    before, (after, info) = load_tokenizer(trained / "tokenizer")[0], load_tokenizer(decoder_only)
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    codes = before.encode(images)
    assert torch.equal(after.encode(images), codes) and same_codes(before, after)
    assert not torch.equal(after.decode(codes), before.decode(codes))
    log = [json.loads(line) for line in (decoder_only / "log.jsonl").read_text().splitlines()]
    old = json.loads((trained / "tokenizer" / "model" / "config.json").read_text())["metadata"]["validation"][
        "mse"
    ]
    assert log[0]["loss"] < 15 * old  # it did not begin anew (loss.l2 is ten times the squared error)
    assert info.metadata["training"]["started_from"] == {"data": "digits", "steps": 60, "learnt": "decoder"}
    assert str(trained) not in json.dumps(info.metadata)


def test_a_whole_tokenizer_goes_on_at_another_size(trained, tmp_path):
    run(
        "train-tokenizer",
        "--start_from",
        trained / "tokenizer",
        "--data.image_size",
        "12",
        *options("train", SHORT),
        "--out",
        tmp_path / "t",
    )
    before, (after, info) = load_tokenizer(trained / "tokenizer")[0], load_tokenizer(tmp_path / "t")
    assert info.image_size == (12, 12) and not same_codes(before, after)
    line = json.loads((tmp_path / "t" / "log.jsonl").read_text().splitlines()[0])
    assert line["codes_used"] > 8 and line["mse"] < 0.1  # a new network begins at 0.2


def test_a_diffusion_model_goes_on_over_a_decoder_of_its_own(trained, decoder_only, images, tmp_path, capsys):
    start = [
        "--start_from",
        trained / "diffusion",
        "--tokenizer",
        decoder_only,
        "--data.source",
        "folder",
        "--data.root",
        images,
    ]
    out = tmp_path / "d"
    run(
        "train-diffusion",
        *start,
        *options("train", SHORT),
        "--train.optimizer",
        "adamw",
        "--cache",
        tmp_path / "cache",
        "--out",
        out,
    )
    assert "1 of the classes match" in capsys.readouterr().out
    old, new = Pipeline.from_pretrained(trained / "diffusion"), Pipeline.from_pretrained(out)
    assert new.class_names == ("7", "seven") and new.metadata["training"]["started_from"]["steps"] == 60
    x = torch.randint(32, (3, 16), generator=torch.Generator().manual_seed(0))
    asked = x, torch.full((3,), 0.5)
    far = (
        (
            old.predict(*asked, torch.tensor([7] * 3), old.grid)
            - new.predict(*asked, torch.tensor([0] * 3), new.grid)
        )
        .abs()
        .mean()
    )
    blank = old.predict(*asked, torch.tensor([7] * 3), old.grid).abs().mean()
    assert far < blank / 2  # six steps from the old one, not from a network that says nothing

    broken = tmp_path / "broken"  # killed after its first checkpoint
    shutil.copytree(out, broken)
    for left in ("model", "checkpoints/step-00000006"):
        shutil.rmtree(broken / left)
    again = [
        *start,
        *options("train", SHORT),
        "--train.optimizer",
        "adamw",
        "--cache",
        tmp_path / "cache",
        "--out",
        broken,
        "--resume",
        "true",
    ]
    run("train-diffusion", *again)
    ended = [
        load_file(place / "checkpoints" / "step-00000006" / "model.safetensors") for place in (out, broken)
    ]
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])


def test_classes_are_matched_by_name(trained):
    pipe = Pipeline.from_pretrained(trained / "diffusion")
    classes = ("9", "a new one", "0")
    config = DiffusionRun(start_from=str(trained / "diffusion"), denoiser=pipe.denoiser.config)
    pretrained = PretrainedModel.of(config, pipe.tokenizer)
    network = type(pipe.denoiser)(pipe.denoiser.config, 32, 3)
    assert pretrained.load_weights(network, classes) == 2
    rows = pipe.denoiser.classes.weight
    assert torch.equal(network.classes.weight, rows[[9, 10, 0, 10]])
    x, kappa = torch.randint(33, (2, 16)), torch.tensor([0.2, 0.9])
    mine = network.eval()(x, kappa, torch.tensor([0, 3]), pipe.grid)
    assert torch.equal(mine, pipe.denoiser(x, kappa, torch.tensor([9, 10]), pipe.grid))


def test_what_does_not_fit_is_named(trained, decoder_only, tmp_path, capsys):
    out, model = ["--out", tmp_path / "x"], trained / "diffusion"
    assert "learn='decoder': needs a trained tokenizer" in fails(
        capsys, "train-tokenizer", "--learn", "decoder", *out
    )
    assert "tokenizer.width=32: start_from" in fails(
        capsys, "train-tokenizer", "--start_from", model, "--tokenizer.width", "32", *out
    )
    assert "has 16; leave it out" in fails(
        capsys, "train-tokenizer", "--start_from", model, "--tokenizer.width", "32", *out
    )
    assert "data.channels=3" in fails(
        capsys, "train-tokenizer", "--start_from", model, "--data.channels", "3", *out
    )
    assert "start_from='nowhere'" in fails(capsys, "train-tokenizer", "--start_from", "nowhere", *out)
    assert "denoiser.depth=3: start_from" in fails(
        capsys, "train-diffusion", "--start_from", model, "--denoiser.depth", "3", *out
    )
    assert "holds no trained pipeline" in fails(
        capsys, "train-diffusion", "--start_from", trained / "tokenizer", *out
    )
    run(
        "train-tokenizer",
        "--start_from",
        model,
        *options("train", {**SHORT, "steps": 1}),
        "--out",
        tmp_path / "other",
    )
    said = fails(capsys, "train-diffusion", "--start_from", model, "--tokenizer", tmp_path / "other", *out)
    assert "gives other codes than the tokenizer of start_from" in said
    assert "gives other codes" in fails(capsys, "package", model, "--tokenizer", tmp_path / "other", *out)
    assert not (tmp_path / "x").exists()


def test_a_new_decoder_takes_the_place_of_the_old_one(trained, decoder_only, tmp_path, capsys):
    out, plain = tmp_path / "packaged", tmp_path / "plain"
    run("package", trained / "diffusion", "--tokenizer", decoder_only, "--half", "false", "--out", out)
    old, new = Pipeline.from_pretrained(trained / "diffusion"), Pipeline.from_pretrained(out)
    codes = old.generate_codes(4, seed=1)
    assert torch.equal(new.generate_codes(4, seed=1), codes)
    assert torch.equal(new.tokenizer.decode(codes), load_tokenizer(decoder_only)[0].decode(codes))
    assert (
        "begun with the weights of another model (60 steps on digits); its decoder alone learnt"
        in (out / "README.md").read_text()
    )

    run("package", trained / "diffusion", "--half", "false", "--out", plain)
    scores = tmp_path / "scores.json"
    run("evaluate", plain, "--num-samples", "40", "--out", scores)
    run("package", plain, "--half", "false", "--evaluation", scores, "--out", tmp_path / "scored")
    said = fails(
        capsys,
        "package",
        plain,
        "--tokenizer",
        decoder_only,
        "--half",
        "false",
        "--evaluation",
        scores,
        "--out",
        tmp_path / "y",
    )
    assert "other weights" in said and not (tmp_path / "y").exists()
    run("package", tmp_path / "scored", "--tokenizer", decoder_only, "--out", tmp_path / "renewed")
    assert "## Scores" in (tmp_path / "scored" / "README.md").read_text()
    assert "## Scores" not in (tmp_path / "renewed" / "README.md").read_text()


def test_a_value_that_was_not_typed_says_where_it_stands(tmp_path, capsys):
    out, file = ["--out", tmp_path / "x"], tmp_path / "mine.yaml"
    named = ["--tokenizer.quantizer.name", "fsq"]
    for text in ("{code_dim: 16}", "{quantizer: {code_dim: 16}}"):  # as version 0.1.0 had it, and as it is
        file.write_text(f"tokenizer: {text}\n")
        said = fails(capsys, "train-tokenizer", "--config", file, *named, *out)
        assert (
            "tokenizer.quantizer.code_dim=16: the quantizer fsq has no such setting; ema, cosine, simvq have it"
            in said
        )
        assert said.endswith(f"(set in {file}; override with --tokenizer.quantizer.code-dim)")
    said = fails(capsys, "train-tokenizer", "--start_from", "eurosat", *named, *out)
    assert "tokenizer.quantizer.name='fsq': start_from eurosat has ema" in said
    assert fails(capsys, "train-tokenizer", *named, "--tokenizer.quantizer.code_dim", "16", *out).endswith(
        "ema, cosine, simvq have it"
    )
    file.write_text("tokenizer: {width: 12}\n")
    assert "use a multiple of 8" in fails(
        capsys, "train-tokenizer", "--start_from", "eurosat", "--config", file, *out
    )


def test_a_model_learns_to_be_told_what_is_known(trained, tmp_path, monkeypatch):
    """Weights of a model without that input are the first ones; the setting is stored, and editing makes use of it."""
    start = [
        "--start_from",
        trained / "diffusion",
        "--denoiser.known_share",
        "0.5",
        "--data.source",
        "digits",
    ]
    run(
        "train-diffusion",
        *start,
        *options("train", SHORT),
        "--cache",
        tmp_path / "cache",
        "--out",
        tmp_path / "d",
    )
    old, pipe = Pipeline.from_pretrained(trained / "diffusion"), Pipeline.from_pretrained(tmp_path / "d")
    assert pipe.token_levels and not old.token_levels and pipe.denoiser.known_level.weight.any()
    asked, forward = [], pipe.denoiser.forward
    monkeypatch.setattr(
        pipe.denoiser,
        "forward",
        lambda x_t, kappa, *a, **k: (asked.append(kappa), forward(x_t, kappa, *a, **k))[1],
    )
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    mask = np.arange(64).reshape(8, 8) % 8 < 4
    (found,) = pipe.inpaint(image, mask, seed=0, sampler="ancestral", steps=4)
    assert np.array_equal(np.asarray(found)[~mask], np.asarray(image)[~mask])
    assert asked and all(kappa.ndim == 2 and (kappa == 1).any() and (kappa < 1).any() for kappa in asked[:2])
    back = ["--start_from", tmp_path / "d", "--denoiser.known_share", "0", "--data.source", "digits"]
    run(
        "train-diffusion",
        *back,
        *options("train", SHORT),
        "--cache",
        tmp_path / "cache",
        "--out",
        tmp_path / "e",
    )
    assert not Pipeline.from_pretrained(tmp_path / "e").token_levels
