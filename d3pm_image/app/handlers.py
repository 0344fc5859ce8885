"""What a click does: values of the page in, updates of the page out, wrong input in friendly words."""

from __future__ import annotations

import functools
import html
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ..config import ConfigError
from ..printable import printable
from .canvas_mask import displayed, painted
from .errors import failure
from .session import Finished, PageRequest, Progress, Studio, open_upload
from .streaming import Stopped

PREVIEW_S = 0.12  # seconds between two previews: more would only keep the browser busy
PROMISE = "Painted pixels are hidden from the model and drawn anew. Every other pixel stays exactly as it is."
SMALL = 160  # pixels of the longer side under which an image is shown with square pixels


def friendly(work: Callable) -> Callable:
    """A handler whose every failure becomes a message box."""

    @functools.wraps(work)
    def handler(*args: Any) -> Any:
        try:
            return work(*args)
        except Exception as error:
            raise failure(error) from None

    return handler


def whole(value: Any, name: str) -> int:
    """A number field as a whole number. Raises ConfigError for none."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or int(value) != value:
        raise ConfigError(name, value, "give a whole number")
    return int(value)


class Handlers:
    """The page's clicks, for one studio."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.running: dict[str, threading.Event] = {}

    def stop(self, request: gr.Request) -> None:
        """End the decode of this browser at its next step."""
        event = self.running.get(str(request.session_hash))
        if event:
            event.set()

    def drawing(
        self,
        label: str | None,
        count: Any,
        sampler: str,
        steps: Any,
        guidance: Any,
        temperature: Any,
        seed: Any,
    ) -> PageRequest:
        """The common settings. Raises ConfigError."""
        changes = {
            "sampler": sampler,
            "steps": whole(steps, "steps"),
            "guidance": guidance,
            "temperature": temperature,
        }
        self.studio.pipe.request(**changes)
        return PageRequest(label or "", whole(count, "images"), whole(seed, "seed"), changes)

    def generate(self, request: gr.Request, *values: Any) -> Iterator:
        """New images."""
        yield from self.show(lambda stop: self.studio.generate(self.drawing(*values), stop), request)

    def inpaint(
        self, request: gr.Request, path: str | None, editor: Any, feather: Any, *values: Any
    ) -> Iterator:
        """The painted part of an uploaded image, drawn anew."""

        def work(stop: threading.Event) -> Iterator:
            source = open_upload(path)
            mask = painted(editor, source.image.size)
            return self.studio.inpaint(source, mask, whole(feather, "feather"), self.drawing(*values), stop)

        yield from self.show(work, request)

    def outpaint(
        self,
        request: gr.Request,
        path: str | None,
        left: Any,
        top: Any,
        right: Any,
        bottom: Any,
        *values: Any,
    ) -> Iterator:
        """An uploaded image, continued."""

        def work(stop: threading.Event) -> Iterator:
            given = {"left": left, "top": top, "right": right, "bottom": bottom}
            sides = {name: whole(value, name) for name, value in given.items()}
            return self.studio.outpaint(open_upload(path), sides, self.drawing(*values), stop)

        yield from self.show(work, request)

    def vary(self, request: gr.Request, path: str | None, strength: float, *values: Any) -> Iterator:
        """Variations of an uploaded image."""
        yield from self.show(
            lambda stop: self.studio.vary(open_upload(path), strength, self.drawing(*values), stop), request
        )

    def show(self, work: Callable[[threading.Event], Iterator], request: gr.Request) -> Iterator:
        """Updates of (live image, results, download, status) while a decode runs."""
        stop = threading.Event()
        self.running[str(request.session_hash)] = stop
        began, last = time.monotonic(), 0.0
        try:
            for seen in work(stop):
                if isinstance(seen, Progress) and (
                    time.monotonic() - last > PREVIEW_S or seen.step in (0, seen.steps)
                ):
                    last = time.monotonic()
                    image = gr.update(value=seen.image, visible=True)
                    yield (
                        image,
                        gr.update(visible=False),
                        gr.update(interactive=False),
                        f"Drawing: step {seen.step} of {seen.steps}",
                    )
                elif isinstance(seen, Finished):
                    yield self.finished(seen, time.monotonic() - began)
        except Stopped:
            yield gr.update(visible=False), gr.update(visible=True), gr.update(), "Stopped."
        except Exception as error:
            raise failure(error) from None
        finally:
            stop.set()
            if self.running.get(str(request.session_hash)) is stop:
                del self.running[str(request.session_hash)]

    def finished(self, seen: Finished, seconds: float) -> tuple:
        """Updates once all images are there."""
        for note in seen.notes[:1]:
            gr.Info(html.escape(printable(note, 300)))
        count = len(seen.paths)
        text = (
            f"{count} image{'s' if count > 1 else ''} in {seconds:.1f} s. The download carries the settings."
        )
        gallery = gr.update(
            value=[str(path) for path in seen.paths],
            visible=True,
            elem_classes=shape(seen.paths[0]),
            selected_index=None,
        )
        return gr.update(visible=False), gallery, gr.update(value=str(seen.download), interactive=True), text

    def check(self, path: str | None) -> None:
        """Whether an uploaded file is an image, as soon as it is there."""
        if path:
            open_upload(path)

    def load(self, path: str | None) -> Any:
        """An image onto the canvas of the brush, and a line about it."""
        if not path:
            return gr.update(value=None), PROMISE
        image = open_upload(path).image
        text = f"{image.width}×{image.height} pixels, mode {image.mode}. {PROMISE}"
        return gr.update(value={"background": displayed(image), "layers": [], "composite": None}), text

    def tokens(self, path: str | None) -> tuple:
        """An uploaded image, its codes as colours, its reconstruction, and a line about them."""
        if not path:
            return None, None, None, ""
        images, text = self.studio.tokens(open_upload(path))
        return (*images, text)

    def read(self, path: str | None) -> str:
        """The settings of an image as a table."""
        from ..provenance import describe, read_settings

        if not path:
            return ""
        try:
            metadata = read_settings(path)
        except ConfigError as error:
            raise ConfigError("image", Path(path).name, str(error).partition(": ")[2]) from None
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in describe(metadata).items()
        )
        return f'<table class="metadata">{rows}</table>'


def shape(path: Path) -> list[str]:
    """How results are shown: with square pixels where they are small."""
    from ..image_io import opened

    with opened(path, load=False) as image:
        return ["results", "pixels"] if max(image.size) < SMALL else ["results"]
