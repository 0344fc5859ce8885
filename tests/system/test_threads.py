"""As many threads as other programs leave processors."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.system import threads
from d3pm_image.system.threads import fitting_threads, free_threads, torch_threads


@pytest.mark.parametrize(
    ("usual", "processors", "busy", "expected"),
    [
        (2, 2, 0.1, 2),
        (2, 2, 0.6, 1),
        (2, 2, 1.9, 1),
        (2, 2, 9.0, 1),
        (1, 1, 0.0, 1),
        (8, 8, 0.4, 8),
        (8, 8, 3.0, 4),
        (8, 8, 2.2, 6),
        (7, 7, 0.0, 7),
        (8, 8, 7.4, 1),
        (8, 16, 8.0, 8),  # two processors per core, and torch takes one of them
        (8, 16, 11.0, 4),
    ],
)
def test_threads_of_a_machine(usual, processors, busy, expected):
    assert free_threads(usual, processors, busy) == expected


@pytest.fixture
def machine(monkeypatch):
    """Says how busy a machine of four processors is."""
    for name in threads.CHOICES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    taken = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)

    monkeypatch.setattr(threads, "own_processors", lambda: {0, 1, 2, 3})

    def busy(load):
        monkeypatch.setattr(threads, "busy_processors", lambda own: load)

    busy.taken = taken
    return busy


def test_a_busy_machine_is_named(machine, monkeypatch):
    machine(0.2)
    assert fitting_threads() == (4, "")
    machine(1.8)
    assert fitting_threads() == (2, "other programs hold about 1.8 of 4 processors: 2 threads")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert fitting_threads() == (4, "")


def stat(path, *processors: tuple[int, ...]) -> None:
    lines = [f"cpu{number} {' '.join(map(str, times))} 0 0" for number, times in enumerate(processors)]
    path.write_text("\n".join(["cpu  9 9 9 9 9 9 9 9 0 0", *lines, "intr 5", ""]))


IDLE, HELD, NICE, MIXED = (
    (0, 0, 0, 100, 0, 0, 0, 0),
    (50, 0, 50, 0, 0, 0, 0, 0),
    (0, 100, 0, 0, 0, 0, 0, 0),
    (20, 0, 10, 60, 0, 2, 3, 5),
)


@pytest.mark.parametrize(
    ("spent", "own", "expected"),
    [
        ([IDLE, IDLE], {0, 1}, 0.0),
        ([HELD, IDLE], {0, 1}, 1.0),
        ([HELD, NICE], {0, 1}, 1.0),  # of low priority
        ([MIXED, MIXED], {0, 1}, 0.8),
        ([HELD, HELD, HELD, IDLE], {3}, 0.0),  # others hold those that are not this process's
        ([IDLE, IDLE, HELD, HELD], {2, 3}, 2.0),
    ],
)
def test_the_processors_of_this_process_are_looked_at(spent, own, expected, tmp_path, monkeypatch):
    place, before = tmp_path / "stat", (1000, 200, 300, 4000, 50, 6, 7, 8)
    monkeypatch.setattr(threads, "TIMES", place)
    later = [tuple(a + b for a, b in zip(before, times, strict=True)) for times in spent]
    monkeypatch.setattr(threads.time, "sleep", lambda seconds: stat(place, *later))
    stat(place, *[before] * len(spent))
    assert threads.busy_processors(own) == pytest.approx(expected)


@pytest.mark.parametrize("text", [None, "", "cpu0 1 2", "cpu0 a b c d e f g h", "cpu1 1 2 3 4 5 6 7 8"])
def test_a_system_that_does_not_tell_is_taken_for_idle(text, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "TIMES", tmp_path / "stat")
    monkeypatch.setattr(threads, "LOOK_S", 0)
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert threads.busy_processors({0}) == 0


def test_threads_are_lent(monkeypatch):
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before
    with torch_threads(0):
        assert torch.get_num_threads() == before
