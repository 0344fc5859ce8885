"""The number of torch's threads: as many as processors that other programs leave free.

Threads of one operation wait for each other. If other programs use some of the processors, each operation
waits for a thread without a processor: two threads on two busy processors were 20 times as slow as one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user, or torchrun, sets the number."""
TIMES = Path("/proc/stat")
LOOK_S = 0.3
"""Seconds of the measurement. The load average would include programs that ended a minute ago."""


def own_processors() -> set[int]:
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def busy_processors(own: set[int]) -> float:
    """How many of these processors other programs use now; 0 on systems without this information. Programs of
    low priority (nice) do not count."""
    try:
        before = _times()
        time.sleep(LOOK_S)
        after = _times()
        return sum(_share(before[number], after[number]) for number in own)
    except (OSError, ValueError, KeyError):
        return 0.0


def _times() -> dict[int, list[int]]:
    """Times of every processor since the start: user, nice, system, idle, waiting, interrupts, soft
    interrupts, stolen."""
    lines = [line.split() for line in TIMES.read_text(encoding="utf-8").splitlines()]
    found = [words for words in lines if words and words[0].startswith("cpu") and words[0] != "cpu"]
    return {int(words[0][3:]): [int(word) for word in words[1:9]] for words in found}


def _share(before: list[int], after: list[int]) -> float:
    """The fraction of time in which a processor was busy."""
    spent = [late - early for early, late in zip(before, after, strict=True)]
    user, _, system, _, _, interrupts, soft, stolen = spent
    whole = sum(spent)
    return (user + system + interrupts + soft + stolen) / whole if whole else 0.0


def free_threads(usual: int, processors: int, busy: float) -> int:
    """Number of threads, at most ``usual``, if other programs use ``busy`` processors: 1, or an even number,
    with which an image does not depend on its batch."""
    free = max(1, min(usual, processors - round(busy)))
    return free if free in (1, usual) else free - free % 2


def chosen_outside() -> bool:
    """Whether the environment sets the number of threads."""
    return any(os.environ.get(name) for name in CHOICES)


def fitting_threads() -> tuple[int, str]:
    """Number of threads for the present load, and a sentence if it is smaller than torch's own."""
    import torch

    usual = torch.get_num_threads()
    if usual == 1 or chosen_outside():
        return usual, ""
    own = own_processors()
    busy = busy_processors(own)
    threads = free_threads(usual, len(own), busy)
    if threads == usual:
        return usual, ""
    return threads, f"other programs hold about {busy:.1f} of {len(own)} processors: {counted(threads)}"


def counted(threads: int) -> str:
    """A number of threads as text."""
    return f"{threads} thread{'s' if threads > 1 else ''}"


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Set the number of threads for a block; 0 leaves torch's number."""
    import torch

    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
