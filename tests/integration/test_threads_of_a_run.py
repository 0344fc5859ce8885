"""``train.threads``: what other programs leave free, recorded, and kept by a run that goes on."""

from __future__ import annotations

import pytest
import torch
import yaml
from helpers.tiny import SMALL

from d3pm_image.cli import train_tokenizer
from d3pm_image.recipes import resuming
from d3pm_image.system import threads
from d3pm_image.training import loop

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


@pytest.fixture
def machine(monkeypatch):
    """Says how busy a machine of four processors is."""
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    monkeypatch.setattr(threads, "own_processors", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(resuming, "own_processors", lambda: {0, 1, 2, 3})
    yield lambda processors: monkeypatch.setattr(threads, "busy_processors", lambda own: processors)
    torch.set_num_threads(before)


@pytest.fixture
def trained_with(monkeypatch):
    """How many threads torch had in each training."""
    found, real = [], loop.train

    def watched(*arguments, **options):
        found.append(torch.get_num_threads())
        return real(*arguments, **options)

    monkeypatch.setattr(loop, "train", watched)
    return found


def recorded(folder) -> int:
    return yaml.safe_load((folder / "config.yaml").read_text())["train"]["threads"]


@pytest.mark.slow
def test_a_run_records_its_threads_and_keeps_them(machine, trained_with, tmp_path, capsys, monkeypatch):
    """And gives torch its own number back, so that a later run in the program chooses anew."""
    pytest.importorskip("sklearn")
    run = [*SMALL, "--out", str(tmp_path / "run")]
    machine(3.1)
    train_tokenizer.main(run)
    assert recorded(tmp_path / "run") == 1 and torch.get_num_threads() == 4
    assert "3.1 of 4 processors: 1 thread (train.threads)" in capsys.readouterr().err
    machine(0.0)
    train_tokenizer.main([*SMALL, "--out", str(tmp_path / "other")])
    assert recorded(tmp_path / "other") == 4 and not capsys.readouterr().err.count("train.threads")
    train_tokenizer.main([*run, "--train.steps=3", "--resume=true"])
    assert recorded(tmp_path / "run") == 1
    assert "1 thread, as the run began with (train.threads)" in capsys.readouterr().err
    train_tokenizer.main([*run, "--train.steps=4", "--resume=true", "--train.threads=2"])
    assert recorded(tmp_path / "run") == 2
    assert "train.threads 2 (begun with 1)" in capsys.readouterr().err
    assert trained_with == [1, 4, 1, 2] and torch.get_num_threads() == 4


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["fewer processors", "environment"])
def test_a_run_that_goes_on_elsewhere_takes_what_is_there(chosen, machine, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    run = [*SMALL, "--out", str(tmp_path)]
    machine(0.0)
    train_tokenizer.main(run)
    torch.set_num_threads(2)
    if chosen == "environment":
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
    else:
        monkeypatch.setattr(resuming, "own_processors", lambda: {0, 1})
    train_tokenizer.main([*run, "--train.steps=3", "--resume=true"])
    assert recorded(tmp_path) == 2
