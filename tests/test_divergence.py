"""A run that diverges: what is written, kept and named is what training can go on from."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER
from helpers.trainers import batch_of, trainer
from safetensors.torch import load_file

from d3pm_image.cli import train_tokenizer
from d3pm_image.training.checkpoint import checkpoints, read_state
from d3pm_image.training.monitor import Monitor
from d3pm_image.training.trainer import TrainingError

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")

CASE = [
    "--data.source",
    "digits",
    "--data.image_size",
    "16",
    "--data.channels",
    "1",
    "--tokenizer.width",
    "8",
    "--tokenizer.num_codes",
    "32",
    "--tokenizer.code_dim",
    "8",
    "--train.steps",
    "60",
    "--train.batch_size",
    "12",
    "--train.checkpoint_every",
    "3",
    "--train.preview_every",
    "0",
    "--train.keep",
    "1",
    "--train.warmup_steps",
    "40",
    "--train.clip",
    "0",
]


def names(folder: Path) -> list[str]:
    return [p.name for p in checkpoints(folder / "checkpoints")]


def test_the_checkpoint_that_is_named_is_one_to_go_on_from(tmp_path, capsys):
    """The case of the README of cases/last_good_checkpoint."""
    with pytest.raises(TrainingError, match=r"6 in a row.*last good checkpoint is .*step-00000003"):
        train_tokenizer.main([*CASE, "--out", str(tmp_path), "--train.learning_rate", "1e4"])
    assert names(tmp_path) == ["step-00000003"]  # keep 1: it was not pruned, and none was written while steps were skipped
    train_tokenizer.main([*CASE, "--out", str(tmp_path), "--train.learning_rate", "1e-4", "--resume", "true"])
    assert "resuming at step 3" in capsys.readouterr().out
    assert names(tmp_path) == ["step-00000060"]


def poisoned_from(monkeypatch, first: int) -> None:
    """The tokenizer's loss is NaN from a call on."""
    from d3pm_image.tokenizer import loss

    real, calls = loss.reconstruction_loss, []

    def poisoned(output, images, config):
        calls.append(1)
        total, terms = real(output, images, config)
        return total * (float("nan") if len(calls) > first else 1.0), terms

    monkeypatch.setattr(loss, "reconstruction_loss", poisoned)


@pytest.mark.parametrize("first, kept", [(24, "step-00000020"), (20, "step-00000010")])
def test_nothing_is_written_or_pruned_while_steps_are_skipped(tmp_path, monkeypatch, first, kept):
    """Checkpoints at 10, 20, 30; those of weights that gave no finite loss (20, where the loss is NaN from step 20 on) are none."""
    settings = [
        "--train.steps",
        "60",
        "--train.checkpoint_every",
        "10",
        "--train.keep",
        "1",
        "--train.max_skips",
        "15",
        "--train.preview_every",
        "26",
    ]
    with monkeypatch.context() as patch:
        poisoned_from(patch, first)
        with pytest.raises(TrainingError, match=kept):
            train_tokenizer.main([*TINY_TOKENIZER, *settings, "--out", str(tmp_path)])
    assert names(tmp_path) == [kept] and not (tmp_path / "best").is_dir()  # judged at step 26
    tensors = load_file(tmp_path / "checkpoints" / kept / "model.safetensors")
    assert all(torch.isfinite(v).all() for v in tensors.values())
    train_tokenizer.main([*TINY_TOKENIZER, *settings, "--out", str(tmp_path), "--resume", "true"])
    assert names(tmp_path) == ["step-00000060"] and not list((tmp_path / "checkpoints").glob(".*"))


def explode(run, factor: float = 1e6) -> None:
    """What one step at an absurd learning rate does: weights, and with them the loss, are huge but finite."""
    with torch.no_grad():
        for value in run.job.model.parameters():
            value.mul_(factor)


def test_a_loss_that_explodes_without_nan_replaces_no_good_checkpoint(tmp_path):
    run = trainer(tmp_path, keep=1)
    for step in range(3):
        run.due = True
        run.step(batch_of(step))
    assert names(tmp_path) == ["step-00000002"]  # written in the step after it, whose loss shows that it is good
    run.due = True  # of weights that are to explode
    explode(run)
    for step in range(3, 6):
        run.step(batch_of(step))
    assert names(tmp_path) == ["step-00000002"] and not run.save_interrupted()
    run.save_last()
    assert names(tmp_path) == ["step-00000002"]
    again = trainer(tmp_path, keep=1)
    assert again.restore() and again.progress.step == 2
    again.step(batch_of(2))
    assert float(again.loss) < 100


def test_a_checkpoint_in_mid_step_is_that_of_the_step_before(tmp_path):
    """Bit for bit what save() between the steps writes."""
    one, other = trainer(tmp_path / "one", ema=0.9), trainer(tmp_path / "other", ema=0.9)
    for step in range(3):
        one.step(batch_of(step))
        other.step(batch_of(step))
    one.save()
    other.due = True
    other.step(batch_of(3))
    for name in ("model", "optimizer", "ema"):
        a, b = (load_file(tmp_path / run / "checkpoints" / "step-00000003" / f"{name}.safetensors") for run in ("one", "other"))
        assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_an_interrupt_keeps_the_good_checkpoint_and_one_that_proves_bad_goes(tmp_path):
    run = trainer(tmp_path, keep=1, max_skips=1)
    for step in range(2):
        run.due = step == 1
        run.step(batch_of(step))
    explode(run, float("inf"))  # by the last update before the signal: no loss shows it yet
    assert run.save_interrupted() and names(tmp_path) == ["step-00000001", "step-00000002"]
    assert not read_state(tmp_path / "checkpoints" / "step-00000002")["proven"]
    again = trainer(tmp_path, keep=1, max_skips=1)
    assert again.restore() and again.progress.step == 2
    with pytest.raises(TrainingError, match=r"last good checkpoint is .*step-00000001"):
        for step in range(2, 5):
            again.step(batch_of(step))
    assert names(tmp_path) == ["step-00000001"]


def test_best_weights_of_a_branch_that_was_left_are_not_the_best(tmp_path):
    run = trainer(tmp_path)
    object.__setattr__(run.job, "validate", lambda network: {"score": 1.0 / (1 + run.progress.step)})
    run.step(batch_of(0))
    run.save()
    run.step(batch_of(1))
    run.judge(Monitor(tmp_path, True))
    assert run.progress.best_step == 2
    again = trainer(tmp_path)
    assert again.restore() and again.progress.best_step == -1
    run.save()
    again = trainer(tmp_path)
    assert again.restore() and (again.progress.best, again.progress.best_step) == (pytest.approx(1 / 3), 2)
    again.progress.skipped_in_a_row = 1
    object.__setattr__(again.job, "validate", lambda network: {"score": 0.0})
    again.judge(Monitor(tmp_path, True))
    assert again.progress.best_step == 2


def test_a_signal_while_steps_are_skipped_saves_nothing(tmp_path):
    pytest.importorskip("sklearn")
    words = [sys.executable, str(ROOT / "scripts" / "train_tokenizer.py"), *CASE, "--train.learning_rate", "1e4", "--out", str(tmp_path)]
    words += ["--train.steps", "1000000", "--train.max_skips", "1000000"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    errors = ""
    while "skipped (9 so far)" not in errors:
        errors = process.stderr.readline()
        assert errors, "ended"
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 143, errors[-2000:]
    last = errors.strip().splitlines()[-1]
    assert re.search(r"stopped by SIGTERM .* not saved: the last good checkpoint is .*step-00000003", last)
    assert names(tmp_path) == ["step-00000003"]
    assert json.loads((tmp_path / "checkpoints" / "step-00000003" / "state.json").read_text())["skipped"] == 0
