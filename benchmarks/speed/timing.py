"""Times that take turns, peak memory in a process of its own, and tables."""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any


def take_turns(
    entries: dict[str, Callable[[], Any]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each entry by a clock; one round runs every entry once, after one round to warm
    up."""
    times: dict[str, list[float]] = {name: [] for name in entries}
    for round_number in range(repeats + 1):
        for name, call in entries.items():
            began = clock()
            call()
            if round_number:
                times[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_megabytes(make: Callable[..., Callable[[], Any]], *arguments: Any) -> float:
    """Memory that one call adds at its peak, in MB, measured in a fresh process after its inputs are made."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_peak, args=(send, make, arguments))
    child.start()
    value = receive.recv()
    child.join()
    return value


def _peak(send, make, arguments) -> None:
    call = make(*arguments)
    small = make(*arguments, warm=True)
    small()  # what libraries allocate once
    before = _resident()
    _reset_peak()
    call()
    send.send((_peak_resident() - before) / 1024)


def _status(field: str) -> float:
    with open("/proc/self/status", encoding="utf-8") as lines:
        return float(next(line for line in lines if line.startswith(field)).split()[1])


def _resident() -> float:
    return _status("VmRSS")


def _peak_resident() -> float:
    try:
        return _status("VmHWM")
    except OSError:
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _reset_peak() -> None:
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")


def table(header: list[str], rows: list[list[Any]]) -> None:
    """Print rows in aligned columns, numbers to four digits."""
    cells = [header, *[[f"{c:.4g}" if isinstance(c, float) else str(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for number, row in enumerate(cells):
        padded = [c.rjust(w) for c, w in zip(row, widths, strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *padded[1:]]))
        if number == 0:
            print("  ".join("-" * w for w in widths))
