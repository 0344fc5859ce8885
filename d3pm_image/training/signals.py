"""Requests to stop: signals are collected, and the loop saves before it leaves."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def stop_requests() -> Iterator[list[str]]:
    """Collect SIGINT, SIGTERM and SIGUSR1 instead of dying; a second Ctrl-C interrupts at once."""
    received: list[str] = []
    handled = [s for s in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, s)]

    def note(number, frame):
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    previous = {}
    with contextlib.suppress(ValueError):  # not in the main thread: signals belong to somebody else
        for name in handled:
            previous[name] = signal.signal(getattr(signal, name), note)
    try:
        yield received
    finally:
        for name, handler in previous.items():
            signal.signal(getattr(signal, name), handler)
