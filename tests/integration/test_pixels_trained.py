"""A model of pixels: trained, saved and used without a stage one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from helpers.tiny import DENOISER, options
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.cli import evaluate, reconstruct, train_diffusion
from d3pm_image.config import ConfigError, DiffusionRun
from d3pm_image.parser import parse
from d3pm_image.recipes import diffusion as diffusion_recipe
from d3pm_image.tokenizer import Pixels, load_tokenizer, pixel_tokenizer

LOOP = {"steps": 5, "batch_size": 16, "warmup_steps": 2, "preview_every": 5, "checkpoint_every": 5}
TINY = [
    *options("data", {"image_size": 8, "channels": 1}),
    *options("denoiser", {**DENOISER, "patch": 2}),
    *options("train", LOOP),
]


def test_the_command_line_takes_pixels(tmp_path):
    run = parse("train-diffusion", DiffusionRun, ["--tokenizer", "pixels:4", *TINY])
    assert run.tokenizer == "pixels:4" and run.denoiser.patch == 2
    (tmp_path / "run.yaml").write_text("tokenizer: pixels:4\ndata: {image_size: 8, channels: 1}\n")
    assert (
        parse("train-diffusion", DiffusionRun, ["--config", str(tmp_path / "run.yaml")]).tokenizer
        == "pixels:4"
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a few steps' training on pixels."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("pixels") / "run"
    train_diffusion.main(
        ["--tokenizer", "pixels:4", *TINY, "--out", str(folder), *options("sampling", {"steps": 3})]
    )
    return folder


@pytest.fixture(scope="module")
def pipe(run):
    return Pipeline.from_pretrained(run)


def test_one_command_trains_a_model_of_pixels(run, pipe):
    assert isinstance(pipe.tokenizer, Pixels) and pipe.grid == (8, 8) and pipe.denoiser.num_codes == 4
    assert len(pipe.class_names) == 10 and pipe.metadata["tokenizer"]["data"]["source"] == "digits"
    assert load_tokenizer(run)[1].sha256 == pixel_tokenizer(4, 1, 8)[1].sha256
    again = parse("train-diffusion", DiffusionRun, ["--config", str(run / "config.yaml")])
    assert again.tokenizer == "pixels:4" and again.data.image_size == (8, 8)


def test_a_finished_run_goes_on_where_it_was(run):
    train_diffusion.main(["--config", str(run / "config.yaml"), "--resume", "true"])
    with pytest.raises(ConfigError, match=r"^tokenizer="):
        diffusion_recipe.run(
            dataclasses.replace(
                parse("train-diffusion", DiffusionRun, ["--config", str(run / "config.yaml")]),
                tokenizer="pixels:5",
                resume=True,
            )
        )


@pytest.mark.parametrize("sampler", ["confidence", "ancestral"])
def test_generated_pixels_have_the_models_levels(pipe, sampler):
    images = pipe.generate(3, labels=[1, 2], seed=1, sampler=sampler)
    assert [i.size for i in images] == [(8, 8)] * 3
    assert {int(v) for i in images for v in np.unique(np.asarray(i))} <= {0, 85, 170, 255}


def test_save_and_load_give_the_same_images(pipe, tmp_path):
    again = Pipeline.from_pretrained(pipe.save_pretrained(tmp_path / "model"))
    assert all(
        np.array_equal(a, b) for a, b in zip(pipe.generate(2, seed=3), again.generate(2, seed=3), strict=True)
    )


@pytest.mark.parametrize("mode, size", [("L", (8, 8)), ("RGB", (21, 13))])
def test_known_pixels_come_back_exactly(pipe, mode, size):
    """Even those that lie between the model's levels."""
    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    ).convert(mode)
    mask = np.zeros((size[1], size[0]), bool)
    mask[2:6, 1:5] = True
    for result in pipe.inpaint(image, mask, variants=2, seed=3):
        before, after = np.asarray(image), np.asarray(result)
        assert (
            result.mode == mode
            and np.array_equal(before[~mask], after[~mask])
            and not np.array_equal(before[mask], after[mask])
        )


def test_known_codes_stay_while_hidden_ones_are_drawn(pipe):
    """At the model's own size an image of its own levels changes nowhere but under the mask, one pixel per code."""
    image = pipe.generate(1, seed=9)[0]
    mask = np.eye(8, dtype=bool)
    assert not np.array_equal(
        np.asarray(pipe.inpaint(image, ~mask, seed=1)[0])[~mask], np.asarray(image)[~mask]
    )
    assert np.array_equal(np.asarray(pipe.inpaint(image, ~mask, seed=1)[0])[mask], np.asarray(image)[mask])
    assert np.array_equal(np.asarray(pipe.reconstruct([image])[0]), np.asarray(image))


def test_evaluate_and_reconstruct_work(run, pipe, tmp_path):
    evaluate.main([str(run), "--num_samples", "0", "--out", str(tmp_path / "e.json")])
    figures = json.loads((tmp_path / "e.json").read_text())["tokenizer"]
    assert 0 < figures["mse"] < (0.5 / 3) ** 2 and figures["num_codes"] == 4 and figures["codes_used"] == 4
    pipe.generate(1)[0].save(tmp_path / "image.png")
    reconstruct.main([str(run), str(tmp_path / "image.png"), "--out", str(tmp_path / "r.png")])
    assert (tmp_path / "r.png").is_file()
