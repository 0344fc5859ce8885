"""Runs that diverge: what is written, kept and named is what training can go on from."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from helpers.paths import ROOT
from helpers.tiny import TINY_TOKENIZER
from helpers.trainers import names
from safetensors.torch import load_file

from d3pm_image.cli import train_tokenizer
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
    "--tokenizer.quantizer.num_codes",
    "32",
    "--tokenizer.quantizer.code_dim",
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


def test_the_checkpoint_that_is_named_is_one_to_go_on_from(tmp_path, capsys):
    """The case of the README of cases/last_good_checkpoint."""
    with pytest.raises(TrainingError, match=r"6 in a row.*last good checkpoint is .*step-00000003"):
        train_tokenizer.main([*CASE, "--out", str(tmp_path), "--train.learning_rate", "1e4"])
    assert names(tmp_path) == [
        "step-00000003"
    ]  # keep 1: it was not pruned, and none was written while steps were skipped
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
    assert names(tmp_path) == [kept] and not (tmp_path / "best").is_dir()  # validated at step 26
    tensors = load_file(tmp_path / "checkpoints" / kept / "model.safetensors")
    assert all(torch.isfinite(v).all() for v in tensors.values())
    train_tokenizer.main([*TINY_TOKENIZER, *settings, "--out", str(tmp_path), "--resume", "true"])
    assert names(tmp_path) == ["step-00000060"] and not list((tmp_path / "checkpoints").glob(".*"))


@pytest.mark.slow
def test_a_signal_while_steps_are_skipped_saves_nothing(tmp_path):
    pytest.importorskip("sklearn")
    words = [
        sys.executable,
        str(ROOT / "scripts" / "train_tokenizer.py"),
        *CASE,
        "--train.learning_rate",
        "1e4",
        "--out",
        str(tmp_path),
    ]
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
