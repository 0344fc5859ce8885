"""Requests to stop: signals are collected, and the loop saves before it ends."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..system.stopping import ENDING


@dataclass
class StopRequests:
    """Received signals.

    Args:
        names: In order.
        waiting: Whether the program waits for something that may never come, with nothing half done: then the
            next signal raises KeyboardInterrupt instead of being kept for later.
    """

    names: list[str] = field(default_factory=list)
    waiting: bool = False

    def note(self, number: int, frame: object) -> None:
        """The handler."""
        again = bool(self.names) and number == signal.SIGINT
        self.names.append(signal.Signals(number).name)
        if again or self.waiting:
            self.waiting = False
            raise KeyboardInterrupt


@contextlib.contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Collect SIGINT, SIGTERM, SIGHUP and SIGUSR1 instead of dying; a second Ctrl-C interrupts at once.
    SIGHUP stays ignored where it is (nohup)."""
    received, previous, wakeup = StopRequests(), {}, -1
    with contextlib.suppress(ValueError):  # not in the main thread: signals are handled elsewhere
        wakeup = signal.set_wakeup_fd(-1)  # of another handler that would end the program at a signal
        for name in ENDING:
            number = getattr(signal, name, None)
            if number is not None and not (name == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN):
                previous[number] = signal.signal(number, received.note)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if wakeup != -1:
            signal.set_wakeup_fd(wakeup)
