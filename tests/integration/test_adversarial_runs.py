"""Runs with a discriminator: a second network that is saved, resumed, split and shared like the first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.adversarial import AGAINST, BASE, SETTINGS, lines, run
from helpers.paths import ROOT
from helpers.tensors import equal
from helpers.tiny import free_port, options
from safetensors.torch import load_file

from d3pm_image.config import ConfigError
from d3pm_image.training.checkpoint import checkpoints

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")
ADAPTIVE = [*BASE, *options("loss.adversarial", {**SETTINGS, "rate": 5.0})]


def at(folder, step: int, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / f"{name}.safetensors")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return run(tmp_path_factory.mktemp("against"), *AGAINST)


def test_before_the_adversarial_loss_counts_the_tokenizer_trains_as_if_alone(unbroken, tmp_path):
    """Bit for bit through the warm-up, which ends at step 6; then it differs."""
    alone = run(tmp_path / "alone", *BASE)
    assert equal(at(alone, 5), at(unbroken, 5)) and not equal(at(alone, 10), at(unbroken, 10))
    assert not (alone / "checkpoints" / "step-00000005" / "discriminator.safetensors").exists()
    logged = lines(unbroken)
    assert ["discriminator" in line for line in logged] == [False] * 2 + [True] * 18
    assert ["adversarial" in line for line in logged] == [False] * 6 + [True] * 14
    assert not equal(at(unbroken, 5, "discriminator"), at(unbroken, 10, "discriminator"))


@pytest.mark.parametrize("kept", [5, 10])
def test_a_killed_run_goes_on_exactly_with_both_networks(unbroken, tmp_path, kept):
    """From the middle of the warm-up and of the ramp."""
    folder = tmp_path / "broken"
    shutil.copytree(unbroken, folder)
    for late in checkpoints(folder / "checkpoints"):
        if int(late.name[-8:]) > kept:
            shutil.rmtree(late)
    shutil.rmtree(folder / "model")
    run(folder, *AGAINST, "--resume", "true")
    for name in ("model", "ema", "optimizer", "discriminator", "discriminator_optimizer"):
        assert equal(at(folder, 20, name), at(unbroken, 20, name)), name
    assert [line["loss"] for line in lines(folder)] == [line["loss"] for line in lines(unbroken)]


def test_a_discriminator_can_join_a_run_but_not_one_that_it_should_have_joined_before(tmp_path):
    folder = run(tmp_path / "run", *BASE, "--train.steps", "10")
    late = [*BASE, *options("loss.adversarial", {**SETTINGS, "start_step": 12}), "--resume", "true"]
    with pytest.raises(
        ConfigError,
        match=r"loss\.adversarial\.start_step=2: the checkpoint of step 10 holds no second network",
    ):
        run(folder, *AGAINST, "--resume", "true")
    run(folder, *late)
    assert ["discriminator" in line for line in lines(folder)] == [False] * 12 + [True] * 8


def test_accumulation_equals_the_large_batch(unbroken, tmp_path):
    parts = run(tmp_path / "parts", *AGAINST, "--train.accumulate", "4", "--loss.adversarial.lecam", "0")
    whole = run(tmp_path / "whole", *AGAINST, "--loss.adversarial.lecam", "0")
    for name in ("loss", "discriminator", "score_fake"):
        assert [line.get(name, 0.0) for line in lines(parts)] == pytest.approx(
            [line.get(name, 0.0) for line in lines(whole)], rel=2e-3, abs=1e-4
        )
    assert [line["loss"] for line in lines(unbroken)] != [
        line["loss"] for line in lines(whole)
    ]  # LeCam is in the first


@pytest.mark.slow
def test_two_processes_train_both_networks_as_one(unbroken, tmp_path):
    folder = tmp_path / "two"
    script = str(ROOT / "scripts" / "train_tokenizer.py")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
        script,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*launch, *AGAINST, "--out", str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line["processes"] for line in lines(folder)] == [2] * 20
    for name in ("loss", "discriminator", "lecam", "score_real", "score_fake"):
        ours, theirs = ([line.get(name, 0.0) for line in lines(f)] for f in (folder, unbroken))
        assert ours == pytest.approx(theirs, rel=5e-3, abs=1e-4), name
    torch.testing.assert_close(
        at(folder, 20, "discriminator")["anchors"],
        at(unbroken, 20, "discriminator")["anchors"],
        rtol=5e-3,
        atol=1e-4,
    )


@pytest.mark.slow
def test_switching_a_discriminator_on_costs_less_than_a_decibel(tmp_path):
    """Digits, 60 steps alone and 100 against a discriminator that learns fast and counts at once."""
    alone = run(
        tmp_path / "run", *BASE, "--train.steps", "60", "--train.preview_every", "60", "--train.ema", "0.9"
    )
    fast = {
        "weight": 0.5,
        "start_step": 60,
        "warmup_steps": 10,
        "ramp_steps": 10,
        "rate": 2.0,
        "width": 32,
        "layers": 2,
    }
    more = ["--train.steps", "160", "--train.preview_every", "10", "--train.ema", "0.9", "--resume", "true"]
    run(alone, *BASE, *options("loss.adversarial", fast), *more)
    validated = [
        line
        for line in map(json.loads, (alone / "log.jsonl").read_text().splitlines())
        if "val_psnr_db" in line
    ]
    before = next(line["val_psnr_db"] for line in validated if line["step"] == 60)
    assert min(line["val_psnr_db"] for line in validated) > before - 1
    assert max(line.get("adversarial_weight", 0.0) for line in lines(alone)) > 0  # it did count
    assert any(line.get("score_real", 0.0) > line.get("score_fake", 0.0) + 0.5 for line in lines(alone))


def test_an_adaptive_adversarial_loss_is_the_same_in_parts_and_after_a_kill(tmp_path):
    whole = run(tmp_path / "whole", *ADAPTIVE)
    weights = [line.get("adversarial_weight", 0.0) for line in lines(whole)]
    assert weights[:6] == [0.0] * 6 and max(weights) > 0
    parts = run(tmp_path / "parts", *ADAPTIVE, "--train.accumulate", "4", "--loss.adversarial.lecam", "0")
    assert [line["loss"] for line in lines(parts)] == pytest.approx(
        [line["loss"] for line in lines(whole)], rel=5e-3
    )
    for late in checkpoints(whole / "checkpoints")[-2:]:
        shutil.rmtree(late)
    shutil.rmtree(whole / "model")
    before = [line["loss"] for line in lines(whole)]
    run(whole, *ADAPTIVE, "--resume", "true")
    assert [line["loss"] for line in lines(whole)] == before


@pytest.mark.slow
@pytest.mark.parametrize("settings", [ADAPTIVE, AGAINST], ids=["adaptive", "fixed weight"])
def test_bf16_trains_both_networks(tmp_path, settings):
    folder = run(tmp_path / "half", *settings, "--train.mixed_precision", "bf16", "--train.steps", "10")
    assert all(v.dtype == torch.float32 for v in at(folder, 10, "discriminator").values())
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(folder))
    assert ["adversarial_weight" in line for line in lines(folder)] == [False] * 6 + [
        settings is ADAPTIVE
    ] * 4
