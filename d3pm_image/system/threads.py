"""How many threads torch takes: as many as there are processors that other programs leave free.

Threads of one operation wait for each other. Where other programs hold some of the processors, each operation
waits for the thread that was put aside: two threads on two busy processors were 20 times as slow as one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user has chosen."""
TIMES = Path("/proc/stat")
LOOK_S = 0.3
"""Seconds for which the processors are looked at. The load average would count what ended a minute ago."""


def busy_processors() -> float:
    """Processors that other programs hold now; 0 on systems that do not tell. Programs of low priority (nice)
    give way and do not count."""
    try:
        first = _times()
        time.sleep(LOOK_S)
        spent = [after - before for before, after in zip(first, _times(), strict=True)]
        user, _, system, _, _, interrupts, soft, stolen = spent
    except (OSError, ValueError, IndexError):
        return 0.0
    whole = sum(spent)
    return (os.cpu_count() or 1) * (user + system + interrupts + soft + stolen) / whole if whole else 0.0


def _times() -> list[int]:
    """Times of all processors since the start: user, nice, system, idle, waiting, interrupts, soft
    interrupts, stolen."""
    words = TIMES.read_text(encoding="utf-8").split("\n", 1)[0].split()
    return [int(word) for word in words[1:9]]


def free_threads(threads: int, busy: float) -> int:
    """Threads where other programs hold so many processors of those that torch would take: 1, or an even
    number, with which an image does not depend on its batch."""
    free = max(1, threads - round(busy))
    return free if free == 1 or threads == free else free - free % 2


def fitting_threads() -> tuple[int, str]:
    """Threads that fit what the machine does now, and a sentence where they are fewer than torch would
    take."""
    import torch

    usual = torch.get_num_threads()
    if usual == 1 or any(os.environ.get(name) for name in CHOICES):
        return usual, ""
    busy = busy_processors()
    threads = free_threads(usual, busy)
    if threads == usual:
        return usual, ""
    several = "s" if threads > 1 else ""
    return threads, f"other programs hold about {busy:.1f} of {usual} processors: {threads} thread{several}"
