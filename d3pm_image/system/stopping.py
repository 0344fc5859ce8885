"""Signals end a command with one line and the conventional exit code, 128 + number; a running training saves
first (:mod:`d3pm_image.training.signals`).

The handler raises, so that open files are closed and unfinished ones removed. A program inside another
library, such as one that waits for other processes, does not run the handler; then a thread, which the system
wakes through a socket, ends it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
PATIENCE_S = 10.0
"""Seconds within which the handler must run; twice as many for the clean-up."""


class Stopped(KeyboardInterrupt):
    """A signal ends the program; the text is its name."""


class Ending:
    """Handler of the signals, and the thread that ensures that they end the program.

    Args:
        command: For the line that is printed.
    """

    def __init__(self, command: str):
        self.command, self.seen, self.left = command, threading.Event(), threading.Event()
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)

    def handle(self, number: int, frame: object) -> None:
        """Raise :class:`Stopped`."""
        self.seen.set()
        raise Stopped(signal.Signals(number).name)

    def watch(self) -> None:
        """Wait for a signal, then for the block to be left; end the program if that takes too long."""
        for number in iter(lambda: self.ours.recv(1), b""):
            if signal.getsignal(number[0]) != self.handle:
                continue  # of another handler
            if not self.seen.wait(PATIENCE_S) or not self.left.wait(2 * PATIENCE_S):
                self.end(number[0])

    def end(self, number: int) -> None:
        """Leave at once."""
        with contextlib.suppress(OSError, ValueError):
            os.write(2, f"d3pm-image {self.command}: stopped by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)


def number_of(name: str) -> int:
    """A signal's number by name; SIGINT's for none."""
    return int(getattr(signal, name, signal.SIGINT)) if name else int(signal.SIGINT)


@contextlib.contextmanager
def ended_by_signals(command: str) -> Iterator[None]:
    """Signals raise :class:`Stopped` for the length of a block. A signal that is ignored on purpose (nohup)
    stays ignored, except SIGINT, which shells ignore for background jobs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    ending, previous = Ending(command), {}
    wakeup = signal.set_wakeup_fd(ending.theirs.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=ending.watch, daemon=True).start()
    for name in ENDING:
        number = getattr(signal, name, None)
        if number is not None and (name == "SIGINT" or signal.getsignal(number) != signal.SIG_IGN):
            previous[number] = signal.signal(number, ending.handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        ending.left.set()
        ending.theirs.close()  # ends the thread
