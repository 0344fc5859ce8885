"""Runs that are killed, resumed, interrupted, split over processes, or fed nonsense."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.marks import slow
from helpers.runs import command, environment, stage_arguments, weights
from helpers.tensors import equal
from helpers.tiny import TINY_DIFFUSION, TINY_TOKENIZER

from d3pm_image.cli import train_diffusion, train_tokenizer
from d3pm_image.config import ConfigError
from d3pm_image.training.checkpoint import checkpoints

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")

pytest.importorskip("sklearn")


def steps_logged(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "loss" in line]


@pytest.mark.parametrize("stage", [slow("train_tokenizer"), "train_diffusion"])
def test_a_killed_run_goes_on_to_the_weights_of_an_unbroken_one(stage, trained, tmp_path):
    """SIGKILL in mid-training, then --resume: same final weights bit for bit, no step logged twice or missing."""
    unbroken = trained / ("tokenizer" if stage == "train_tokenizer" else "diffusion")
    folder = tmp_path / "run"
    extra = [*stage_arguments(stage, trained), "--out", str(folder)]
    # the fixture trains in this process; the same number of threads makes the arithmetic the same
    process = subprocess.Popen(command(stage, *extra), env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not checkpoints(folder / "checkpoints") and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "finished before it could be killed"
    process.kill()
    process.wait()
    assert checkpoints(folder / "checkpoints")
    (folder / "checkpoints" / ".step-00000099.1.part").mkdir()  # what a kill during a write leaves
    subprocess.run(
        [*command(stage, *extra), "--resume", "true"],
        check=True,
        env=environment(),
        stderr=subprocess.DEVNULL,
    )
    assert equal(weights(folder), weights(unbroken))
    assert equal(weights(folder, "ema"), weights(unbroken, "ema"))
    assert steps_logged(folder) == steps_logged(unbroken)
    assert not list((folder / "checkpoints").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train_tokenizer", "train_diffusion"])
def test_kills_at_random_moments_change_nothing(stage, trained, tmp_path):
    """SIGKILL while it starts, trains, validates or saves, ten times, or as often as D3PM_IMAGE_KILLS says: the final weights and the log are those of an unbroken run."""
    unbroken = trained / ("tokenizer" if stage == "train_tokenizer" else "diffusion")
    folder, moments = tmp_path / "run", np.random.default_rng(7)
    extra = [*stage_arguments(stage, trained), "--out", str(folder), "--resume", "true"]
    kills = 0
    while kills < int(os.environ.get("D3PM_IMAGE_KILLS", "10")):
        process = subprocess.Popen(
            command(stage, *extra), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        began = time.time()
        before = (folder / "log.jsonl").stat().st_mtime_ns if (folder / "log.jsonl").exists() else 0
        while process.poll() is None and time.time() < began + 120:  # once it trains again
            if (folder / "log.jsonl").exists() and (folder / "log.jsonl").stat().st_mtime_ns != before:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1.5))
        if (
            process.poll() is not None
        ):  # it had ended: begin again, the kills still to come are for the next run
            assert process.returncode == 0
            shutil.rmtree(folder)
            continue
        process.kill()
        process.wait()
        kills += 1
    subprocess.run(
        command(stage, *extra),
        check=True,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert equal(weights(folder), weights(unbroken))
    assert equal(weights(folder, "ema"), weights(unbroken, "ema"))
    assert steps_logged(folder) == steps_logged(unbroken)


def test_sigterm_saves_first(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command("train_tokenizer", "--out", str(folder), "--train.steps", "100000"),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.time() + 120
    while not (folder / "log.jsonl").exists() and time.time() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by SIGTERM" in errors and "--resume true" in errors
    step = int(checkpoints(folder / "checkpoints")[-1].name.removeprefix("step-"))
    assert f"at step {step}" in errors


def test_a_damaged_checkpoint_is_never_loaded(trained, tmp_path, capsys):
    """The one before it is, and the run still ends where an unbroken one ends."""
    folder = tmp_path / "run"
    shutil.copytree(trained / "tokenizer", folder)
    last = checkpoints(folder / "checkpoints")[-1] / "model.safetensors"
    last.write_bytes(last.read_bytes()[:-8] + b"\x01" * 8)
    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(folder), "--resume", "true"])
    output = capsys.readouterr()
    assert "damaged" in output.err and "resuming at step 40" in output.out
    assert equal(weights(folder), weights(trained / "tokenizer"))


def test_an_earlier_run_is_not_written_over(copied):
    before = (copied / "tokenizer" / "log.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="holds an earlier run"):
        train_tokenizer.main([*TINY_TOKENIZER, "--out", str(copied / "tokenizer")])
    assert (copied / "tokenizer" / "log.jsonl").read_bytes() == before


def test_a_checkpoint_of_another_network_is_refused(copied):
    with pytest.raises(ConfigError, match=r"tokenizer\.width=24: .* was begun with 16"):
        train_tokenizer.main(
            [
                *TINY_TOKENIZER,
                "--out",
                str(copied / "tokenizer"),
                "--resume",
                "true",
                "--tokenizer.width",
                "24",
            ]
        )


def test_resume_refuses_another_tokenizer_or_seed(copied):
    """A denoiser never goes on with codes of a tokenizer that was retrained, nor with another order of data."""
    base = [
        *TINY_DIFFUSION,
        "--tokenizer",
        str(copied / "tokenizer"),
        "--out",
        str(copied / "diffusion"),
        "--resume",
        "true",
    ]
    with pytest.raises(ConfigError, match=r"seed=5: the run .* was begun with 0"):
        train_diffusion.main([*base, "--train.seed", "5"])
    shutil.rmtree(copied / "tokenizer")
    train_tokenizer.main([*TINY_TOKENIZER, "--out", str(copied / "tokenizer"), "--train.seed", "9"])
    before = (copied / "diffusion" / "config.yaml").read_bytes()
    with pytest.raises(ConfigError, match="tokenizer="):
        train_diffusion.main(base)
    assert (copied / "diffusion" / "config.yaml").read_bytes() == before


def test_a_finished_model_without_checkpoints_is_not_written_over(copied):
    shutil.rmtree(copied / "tokenizer" / "checkpoints")
    for resume in ("true", "false"):
        with pytest.raises(ConfigError, match="choose another folder"):
            train_tokenizer.main([*TINY_TOKENIZER, "--out", str(copied / "tokenizer"), "--resume", resume])
    assert (copied / "tokenizer" / "model" / "config.json").is_file()


def test_a_sampler_that_does_not_fit_is_refused_before_training(trained, tmp_path):
    base = [*TINY_DIFFUSION, "--tokenizer", str(trained / "tokenizer"), "--out", str(tmp_path / "run")]
    for change, words in (
        (["--process.uniform_share", "1"], "without masks"),
        (["--sampling.steps", "17"], "at most 16"),
    ):
        with pytest.raises(ConfigError, match=words):
            train_diffusion.main([*base, *change])
    assert not (tmp_path / "run").exists()


def test_the_log_tells_noise_levels_and_kinds_of_tokens_apart(trained):
    lines = [json.loads(line) for line in (trained / "diffusion" / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    levels = [last[f"bound_nats_t<={t:g}"] for t in (0.25, 0.5, 0.75, 1)]
    assert sum(levels) / 4 == pytest.approx(
        last["bound_nats"], rel=1e-3
    )  # 16 of 64 times fall into every quarter
    assert last["kept_accuracy"] > last["masked_accuracy"] and 0 <= last["replaced_accuracy"] <= 1


@pytest.mark.parametrize(
    "change",
    [
        ["--train.batch_size", "63", "--train.accumulate", "2"],
        ["--train.mixed_precision", "fp16"],
        ["--data.image_size", "9"],
    ],
)
def test_impossible_requests_write_nothing(change, tmp_path):
    if "fp16" in change and torch.cuda.is_available():
        pytest.skip("fp16 is possible here")
    with pytest.raises(ConfigError):
        train_tokenizer.main([*TINY_TOKENIZER, "--out", str(tmp_path / "run"), *change])
    assert not (tmp_path / "run").exists()
