"""A decode in another thread, whose steps are yielded one by one, and then its result."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from ..sampling.request import Callback, SamplerStep

MOST = 4  # frames that wait for a reader; older ones are dropped: a slow browser must not slow the decode


class Stopped(Exception):
    """The decode was asked to end."""


def watched(
    work: Callable[[Callback], Any], stop: threading.Event, lock: threading.Lock
) -> Iterator[SamplerStep | Any]:
    """States of a decode while it runs, and last of all what ``work`` returns.

    Args:
        work: Called with the callback, in a thread of its own.
        stop: Ends the decode at its next step; it is set as well when the reader leaves before the end.
        lock: Held while ``work`` runs: one decode at a time.

    Raises:
        Stopped: ``stop`` was set. Whatever ``work`` raises.
    """
    frames: deque[SamplerStep] = deque(maxlen=MOST)
    news = threading.Event()
    outcome: dict[str, Any] = {}

    def watch(frame: SamplerStep) -> None:
        if stop.is_set():
            raise Stopped
        frames.append(frame)
        news.set()

    def run() -> None:
        try:
            with lock:
                if stop.is_set():
                    raise Stopped
                outcome["result"] = work(watch)
        except BaseException as error:  # raised again in the reader's thread
            outcome["error"] = error
        news.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive() or frames:
            if frames:
                yield frames.popleft()
            else:
                news.wait(0.05)
                news.clear()
        thread.join()
    finally:
        stop.set()
    if "error" in outcome:
        raise outcome["error"]
    yield outcome["result"]
