"""A run that still trains, or was stopped, is a model: its best weights so far, and a line that says which."""

from __future__ import annotations

import shutil

import pytest
import torch
from helpers.command_line import fails, run
from helpers.tiny import LOOP, TINY_DIFFUSION
from safetensors.torch import load_file

from d3pm_image import ConfigError, Pipeline
from d3pm_image.training.checkpoint import checkpoints


@pytest.fixture
def stopped(trained, tmp_path):
    """A run as it lies there before its end: checkpoints and best weights, no model."""
    place = tmp_path / "stopped"
    shutil.copytree(trained / "diffusion", place)
    shutil.rmtree(place / "model")
    return place


def test_a_stopped_run_draws_with_its_best_weights_and_says_so(trained, stopped, tmp_path, capsys):
    run("generate", stopped, "--num-images", 4, "--out", tmp_path / "grid.png")
    said = capsys.readouterr()
    notes = [line for line in said.err.splitlines() if "has not ended" in line]
    assert (
        len(notes) == 1 and f"its best weights so far, of step {LOOP['steps']} of {LOOP['steps']}" in notes[0]
    )
    assert (tmp_path / "grid.png").is_file()
    ours, whole = Pipeline.from_pretrained(stopped), Pipeline.from_pretrained(trained / "diffusion")
    assert ours.class_names == whole.class_names and ours.sampling == whole.sampling
    assert torch.equal(ours.generate(3, output_type="pt"), whole.generate(3, output_type="pt"))


def test_before_the_first_validation_the_averaged_weights_of_the_last_checkpoint_draw(stopped, capsys):
    shutil.rmtree(stopped / "best")
    last = checkpoints(stopped / "checkpoints")[-1]
    pipe = Pipeline.from_pretrained(stopped)
    assert f"the averaged weights of its last checkpoint, of step {LOOP['steps']}" in capsys.readouterr().err
    averaged = load_file(last / "ema.safetensors")
    assert torch.equal(pipe.denoiser.state_dict()["classes.weight"], averaged["module.classes.weight"])
    (last / "ema.safetensors").write_bytes(b"damaged")
    Pipeline.from_pretrained(stopped)
    earlier = int(checkpoints(stopped / "checkpoints")[-2].name.removeprefix("step-"))
    assert f"of step {earlier} of" in capsys.readouterr().err


def test_a_run_without_weights_says_what_to_do(stopped, capsys):
    shutil.rmtree(stopped / "best")
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "checkpoints").mkdir()
    assert "its training has not ended; go on with --resume true" in fails(capsys, "generate", stopped)


def test_a_tokenizer_that_is_gone_or_another_is_named(trained, stopped, tmp_path):
    text = (stopped / "config.yaml").read_text()
    (stopped / "config.yaml").write_text(text.replace(str(trained / "tokenizer"), "gone"))
    with pytest.raises(ConfigError, match=r"model='gone': is the tokenizer of the training in .*stopped"):
        Pipeline.from_pretrained(stopped)
    (stopped / "config.yaml").write_text(text.replace(str(trained / "tokenizer"), "fashion-mnist"))
    with pytest.raises(ConfigError, match="tokenizer='fashion-mnist': is not the tokenizer"):
        Pipeline.from_pretrained(stopped)


def test_pixels_as_codes_need_no_tokenizer_folder(tmp_path, capsys):
    words = [
        "--tokenizer",
        "pixels:4",
        "--data.image_size",
        "8",
        "--data.channels",
        "1",
        "--out",
        tmp_path / "run",
    ]
    run("train-diffusion", *TINY_DIFFUSION, *words, "--train.steps", "6", "--train.preview_every", "3")
    shutil.rmtree(tmp_path / "run" / "model")
    assert len(Pipeline.from_pretrained(tmp_path / "run").generate(2)) == 2
    assert "its best weights so far" in capsys.readouterr().err
