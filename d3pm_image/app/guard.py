"""The page's own gradio: errors as sentences, inputs that name foreign files refused, and bookkeeping that
does not grow.

All use of gradio beyond its public interface is in this module.
"""

from __future__ import annotations

import html
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes

from ..config import ConfigError, check
from .errors import failure
from .gate import Gate
from .quota import Limits

SESSIONS = 32
"""Sessions whose state gradio keeps; of older ones only the number of the result last clicked on is lost."""
IDLE_S = 60.0
"""Seconds after its last request after which a session without an event stream is forgotten."""
MOST_SEEN = 1000
"""Number of sessions whose last request is recorded; of more, the oldest are forgotten at once."""
MOST_CANVAS, MOST_LAYERS = 4096, 8


class Page(gr.Blocks):
    """Blocks that report every failure as a sentence. ``folder`` has the uploaded files."""

    folder: Path

    async def process_api(self, block_fn: Any, inputs: list[Any], *args: Any, **how: Any) -> dict[str, Any]:
        """One call of a handler, its inputs checked first."""
        try:
            if how.get("iterator") is None:
                check_inputs(block_fn, inputs, self.folder)
            return await super().process_api(block_fn, inputs, *args, **how)
        except gr.Error as error:
            if not error.print_exception:  # one of our own
                raise
            # from gradio's components, such as a number out of range; it contains the input as it was sent
            raise gr.Error(
                html.escape(error.message), title="That does not work", print_exception=False
            ) from None
        except Exception as error:
            raise failure(error) from None


def check_inputs(block_fn: Any, inputs: list[Any], folder: Path) -> None:
    """Raises ConfigError for a file that was not uploaded here, and for an invalid painting."""
    for block, value in zip(getattr(block_fn, "inputs", []), inputs, strict=False):
        paths = list(named_files(value))
        for path in paths:
            local = (
                isinstance(path, str)
                and "://" not in path
                and Path(path).resolve().is_relative_to(folder.resolve())
            )
            check(local, "image", "its file", "was not uploaded on this page; choose it again")
        if isinstance(block, gr.ImageEditor):
            check(len(paths) <= MOST_LAYERS + 2, "painting", "", f"has more than {MOST_LAYERS} layers")
            for path in paths:
                check_painting(Path(path))


def named_files(value: Any) -> Iterator[Any]:
    """All paths in data from a browser."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield from [found["path"]] if "path" in found else []
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def check_painting(path: Path) -> None:
    """Raises ConfigError for anything but a PNG of a canvas's size: gradio would decode any file, however
    large."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        raise ConfigError("painting", "", "is not there any more; choose the image again") from None
    sides = [int.from_bytes(head[at : at + 4], "big") for at in (16, 20)]
    fits = (
        head[:8] == b"\x89PNG\r\n\x1a\n"
        and head[12:16] == b"IHDR"
        and all(0 < side <= MOST_CANVAS for side in sides)
    )
    hint = f"is not a PNG of up to {MOST_CANVAS} pixels per side; choose the image again"
    check(fits, "painting", "", hint)


class Sessions:
    """Forgets what gradio's queue keeps of each session after its last event: it would keep it until the page
    ends."""

    def __init__(self, page: gr.Blocks):
        self.page, self.seen = page, OrderedDict[str, float]()
        self.streams: dict[str, int] = {}

    def joined(self, session: str) -> None:
        """A request of a session goes into the queue; in the thread that serves."""
        now, queue = time.monotonic(), self.page._queue
        self.seen[session] = now
        self.seen.move_to_end(session)
        busy = {event.session_hash for event in queue.event_ids_to_events.values()} | {*self.streams, session}
        while len(self.seen) > MOST_SEEN:
            self.seen.popitem(last=False)
        for name in {*queue.pending_event_ids_session, *queue.pending_messages_per_session} - busy:
            if now - self.seen.get(name, -IDLE_S) > IDLE_S:
                queue.pending_event_ids_session.pop(name, None)
                queue.pending_messages_per_session.pop(name, None)
        forget_oldest(routes.file_upload_statuses._statuses)
        forget_oldest(routes.file_upload_statuses._signals)


def forget_oldest(known: dict[str, Any], most: int = 64) -> None:
    """Drop the oldest entries: gradio never drops those of uploads."""
    for name in list(known)[: max(0, len(known) - most)]:
        known.pop(name, None)


class Server(routes.App):
    """gradio's server behind the gate, which is outermost, before gradio's own answers to other origins."""

    def __init__(self, page: Page, host: str, limits: Limits):
        super().__init__(default_response_class=routes.ORJSONResponse)
        self.page, self.listens_at, self.limits = page, host, limits

    def build_middleware_stack(self) -> Any:
        """The middleware of a request."""
        sessions = Sessions(self.page)
        return Gate(
            super().build_middleware_stack(),
            self.listens_at,
            self.page.folder,
            self.limits,
            sessions.joined,
            sessions.streams,
        )
