"""As many threads as other programs leave processors."""

from __future__ import annotations

import os

import pytest
import torch

from d3pm_image.system import threads
from d3pm_image.system.threads import fitting_threads, free_threads


@pytest.mark.parametrize(
    ("processors", "load", "expected"),
    [(2, 0.1, 2), (2, 0.6, 1), (2, 1.9, 1), (2, 9.0, 1), (1, 0.0, 1), (8, 0.4, 8), (8, 3.0, 4), (8, 2.2, 6), (7, 0.0, 7), (8, 7.4, 1)],
)
def test_threads_of_a_machine(processors, load, expected):
    assert free_threads(processors, load) == expected


@pytest.fixture
def machine(monkeypatch):
    """Says how busy a machine of four processors is."""
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)

    def busy(load):
        monkeypatch.setattr(threads, "busy_processors", lambda: load)

    busy.taken = taken
    return busy


def test_a_busy_machine_is_named(machine, monkeypatch):
    machine(0.2)
    assert fitting_threads() == (4, "")
    machine(1.8)
    assert fitting_threads() == (2, "other programs hold about 1.8 of 4 processors: 2 threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert fitting_threads() == (4, "")


def stat(path, *times: int) -> str:
    path.write_text(f"cpu  {' '.join(map(str, times))} 0 0\ncpu0 1 2 3\n")


@pytest.mark.parametrize(
    ("spent", "processors"),
    [
        ((0, 0, 0, 100, 0, 0, 0, 0), 0.0),
        ((50, 0, 0, 50, 0, 0, 0, 0), 2.0),
        ((0, 50, 0, 50, 0, 0, 0, 0), 0.0),  # of low priority
        ((20, 0, 10, 60, 0, 2, 3, 5), 1.6),
    ],
)
def test_processors_are_looked_at(spent, processors, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "TIMES", tmp_path / "stat")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before = (1000, 200, 300, 4000, 50, 6, 7, 8)
    monkeypatch.setattr(
        threads.time, "sleep", lambda seconds: stat(tmp_path / "stat", *(a + b for a, b in zip(before, spent, strict=True)))
    )
    stat(tmp_path / "stat", *before)
    assert threads.busy_processors() == pytest.approx(processors)


@pytest.mark.parametrize("text", [None, "", "cpu  1 2", "cpu  a b c d e f g h"])
def test_a_system_that_does_not_tell_is_taken_for_idle(text, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "TIMES", tmp_path / "stat")
    monkeypatch.setattr(threads, "LOOK_S", 0)
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert threads.busy_processors() == 0
