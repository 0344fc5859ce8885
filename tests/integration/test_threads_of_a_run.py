"""``train.threads``: what other programs leave free, recorded, and kept by a run that goes on."""

from __future__ import annotations

import pytest
import torch
import yaml
from helpers.tiny import SMALL

from d3pm_image.cli import train_tokenizer
from d3pm_image.system import threads

pytestmark = pytest.mark.usefixtures("one_accelerator_a_test")


@pytest.fixture
def machine(monkeypatch):
    """Says how busy a machine of four processors is, and notes how many threads torch is told to take."""
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)

    def busy(processors):
        monkeypatch.setattr(threads, "busy_processors", lambda: processors)

    busy.taken = taken
    return busy


def recorded(folder) -> int:
    return yaml.safe_load((folder / "config.yaml").read_text())["train"]["threads"]


def test_a_run_records_its_threads_and_keeps_them(machine, tmp_path, capsys):
    pytest.importorskip("sklearn")
    machine(3.1)
    train_tokenizer.main([*SMALL, "--out", str(tmp_path)])
    assert recorded(tmp_path) == 1 and machine.taken[-1] == 1
    assert "3.1 of 4 processors: 1 thread (train.threads)" in capsys.readouterr().err
    machine(0.0)
    train_tokenizer.main([*SMALL, "--out", str(tmp_path), "--train.steps=3", "--resume=true"])
    assert recorded(tmp_path) == 1 and machine.taken[-1] == 1
    train_tokenizer.main([*SMALL, "--out", str(tmp_path), "--train.steps=4", "--resume=true", "--train.threads=2"])
    assert recorded(tmp_path) == 2 and machine.taken[-1] == 2
    assert "train.threads 2 (begun with 1)" in capsys.readouterr().err
