"""A run that diverges: what is written, kept and named is what training can go on from."""

from __future__ import annotations

import pytest
import torch
from helpers.trainers import batch_of, names, trainer
from safetensors.torch import load_file

from d3pm_image.training.checkpoint import read_state
from d3pm_image.training.monitor import Monitor
from d3pm_image.training.trainer import TrainingError
from d3pm_image.training.validation import validate

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


def explode(run, factor: float = 1e6) -> None:
    """What one step at an absurd learning rate does: weights, and with them the loss, are huge but finite."""
    with torch.no_grad():
        for value in run.task.model.parameters():
            value.mul_(factor)


def test_a_loss_that_explodes_without_nan_replaces_no_good_checkpoint(tmp_path):
    run = trainer(tmp_path, keep=1)
    for step in range(3):
        run.due = True
        run.step(batch_of(step))
    assert names(tmp_path) == [
        "step-00000002"
    ]  # written in the step after it, whose loss shows that it is good
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
        a, b = (
            load_file(tmp_path / run / "checkpoints" / "step-00000003" / f"{name}.safetensors")
            for run in ("one", "other")
        )
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
    object.__setattr__(run.task, "validate", lambda network: {"score": 1.0 / (1 + run.progress.step)})
    run.step(batch_of(0))
    run.save()
    run.step(batch_of(1))
    validate(run, Monitor(tmp_path, True))
    assert run.progress.best_step == 2
    again = trainer(tmp_path)
    assert again.restore() and again.progress.best_step == -1
    run.save()
    again = trainer(tmp_path)
    assert again.restore() and (again.progress.best, again.progress.best_step) == (pytest.approx(1 / 3), 2)
    again.progress.skipped_in_a_row = 1
    object.__setattr__(again.task, "validate", lambda network: {"score": 0.0})
    validate(again, Monitor(tmp_path, True))
    assert again.progress.best_step == 2
