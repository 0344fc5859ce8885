"""What a click does: values of the page in, updates of the page out, wrong input as sentences."""

from __future__ import annotations

import functools
import html
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..config import ConfigError, check
from ..printable import printable
from .canvas_mask import displayed, is_transparent, painted
from .errors import failure
from .page_model import Finished, PageModel, PageRequest, Progress, open_upload
from .page_models import PageModels
from .parts import MENUS, MOST_SEED
from .streaming import Stopped

PREVIEW_S = 0.12  # seconds between two previews: more would only keep the browser busy
PROMISE = "Painted pixels are hidden from the model and redrawn. Every other pixel stays exactly as it is."
WAITING, STARTING = "Waiting for the model.", "Starting."
GOES_ON = (WAITING, STARTING, "Step", "Part")
"""Beginning of a line that says that a decode is running."""
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


class Clock:
    """The progress of a decode, and the time left, estimated from the steps so far. A large image is drawn in
    parts, whose number is not known before."""

    def __init__(self) -> None:
        self.part, self.last, self.first = 1, -1, (0, 0.0)

    def line(self, step: int, steps: int, now: float) -> str:
        """The progress after a step; ``now`` in seconds, by any clock."""
        self.part += step < self.last
        if self.last < 0:
            self.first = step, now
        self.last = step
        if self.part > 1:
            return f"Part {self.part}, step {step} of {steps}"
        done, seconds = step - self.first[0], now - self.first[1]
        if done == 0 or step >= steps:
            return f"Step {step} of {steps}"
        return f"Step {step} of {steps}, about {math.ceil(seconds / done * (steps - step))} s left"


def same(count: int) -> list[Any]:
    """Outputs that stay as they are."""
    return [gr.skip()] * count


class Handlers:
    """The page's clicks, for the models of its menu."""

    def __init__(self, page_models: PageModels):
        self.page_models = page_models
        self.running: dict[str, threading.Event] = {}

    def stop(self, request: gr.Request) -> None:
        """End the decode of this browser at its next step."""
        event = self.running.get(str(request.session_hash))
        if event:
            event.set()

    def wait(self, request: gr.Request) -> list[Any]:
        """Updates of (chosen result, status, four buttons) at a press: it waits; nothing if a decode runs
        already."""
        if str(request.session_hash) in self.running:
            return same(6)
        return [0, WAITING, *(gr.update(interactive=False) for _ in range(4))]

    def drawing(
        self,
        page_model: PageModel,
        labels: Sequence[str | None],
        sampler: str,
        steps: Any,
        guidance: Any,
        temperature: Any,
        count: Any,
        seed: Any,
        pinned: Any,
    ) -> PageRequest:
        """The common settings; with a new seed unless it is kept. Raises ConfigError."""
        changes = {
            "sampler": sampler,
            "steps": whole(steps, "steps"),
            "guidance": guidance,
            "temperature": temperature,
        }
        page_model.pipe.request(**changes)
        own = whole(seed, "seed") if pinned else random.randint(0, MOST_SEED)
        return PageRequest(one_label(page_model, labels), whole(count, "images"), own, changes)

    def generate(self, request: gr.Request, model: str, *values: Any) -> Iterator:
        """New images."""
        yield from self.show(PageModel.generate, request, model, values)

    def inpaint(
        self, request: gr.Request, model: str, path: str | None, editor: Any, feather: Any, *values: Any
    ) -> Iterator:
        """The painted part of an uploaded image, redrawn."""

        def work(page_model: PageModel, how: PageRequest, stop: threading.Event) -> Iterator:
            source = open_upload(path)
            mask = painted(editor, source.image.size)
            return page_model.inpaint(source, mask, whole(feather, "feather"), how, stop)

        yield from self.show(work, request, model, values)

    def outpaint(
        self,
        request: gr.Request,
        model: str,
        path: str | None,
        left: Any,
        top: Any,
        right: Any,
        bottom: Any,
        *values: Any,
    ) -> Iterator:
        """An uploaded image, continued."""

        def work(page_model: PageModel, how: PageRequest, stop: threading.Event) -> Iterator:
            given = {"left": left, "top": top, "right": right, "bottom": bottom}
            sides = {name: whole(value, name) for name, value in given.items()}
            return page_model.outpaint(open_upload(path), sides, how, stop)

        yield from self.show(work, request, model, values)

    def vary(
        self, request: gr.Request, model: str, path: str | None, strength: float, *values: Any
    ) -> Iterator:
        """Variations of an uploaded image."""

        def work(page_model: PageModel, how: PageRequest, stop: threading.Event) -> Iterator:
            return page_model.vary(open_upload(path), strength, how, stop)

        yield from self.show(work, request, model, values)

    def tile(
        self, request: gr.Request, model: str, path: str | None, axis: Any, width: Any, *values: Any
    ) -> Iterator:
        """An uploaded image, made seamless."""

        def work(page_model: PageModel, how: PageRequest, stop: threading.Event) -> Iterator:
            return page_model.tile(open_upload(path), axis, whole(width, "width"), how, stop)

        yield from self.show(work, request, model, values)

    def show(
        self,
        work: Callable[[PageModel, PageRequest, threading.Event], Iterator],
        request: gr.Request,
        model: str,
        values: tuple,
    ) -> Iterator:
        """Updates of (live image, results, download, status, stop, seed) while a decode runs."""
        stop = threading.Event()
        self.running[str(request.session_hash)] = stop
        began, clock, last = time.monotonic(), Clock(), 0.0
        try:
            page_model = self.page_models.get(model)
            drawing = self.drawing(page_model, values[:MENUS], *values[MENUS:])
            seen_all = work(page_model, drawing, stop)
            yield *same(3), STARTING, gr.update(interactive=True), drawing.seed
            for seen in seen_all:
                if isinstance(seen, Progress):
                    text = clock.line(seen.step, seen.steps, time.monotonic())
                    if time.monotonic() - last > PREVIEW_S or seen.step in (0, seen.steps):
                        last = time.monotonic()
                        image = gr.update(value=seen.image, visible=True)
                        yield image, gr.update(visible=False), *same(1), text, *same(2)
                elif isinstance(seen, Finished):
                    yield *self.finished(seen, time.monotonic() - began, drawing.seed), *same(2)
        except Stopped:
            yield gr.update(visible=False), gr.update(visible=True), gr.skip(), "Stopped.", *same(2)
        except Exception as error:
            raise failure(error) from None
        finally:
            stop.set()
            if self.running.get(str(request.session_hash)) is stop:
                del self.running[str(request.session_hash)]

    def finished(self, seen: Finished, seconds: float, seed: int) -> tuple:
        """Updates once all images are there."""
        for note in seen.notes[:1]:
            gr.Info(html.escape(printable(note, 300)))
        count = len(seen.paths) - seen.views
        many = f"{count} image{'s' if count > 1 else ''}"
        text = f"{many} in {seconds:.1f} s, seed {seed}. The download carries the settings."
        gallery = gr.update(
            value=[(str(path), caption) for path, caption in zip(seen.paths, seen.captions, strict=True)],
            visible=True,
            elem_classes=shape(seen.paths[0]),
            selected_index=None,
        )
        return gr.update(visible=False), gallery, gr.update(value=str(seen.download), interactive=True), text

    def check(self, model: str, path: str | None) -> tuple[Any, str]:
        """An uploaded image as it is shown, and a line about it."""
        if not path:
            return gr.update(value=None, visible=False), ""
        image = open_upload(path).image
        return gr.update(value=displayed(image), visible=True), self.page_models.get(model).note(image)

    def load(self, model: str, path: str | None) -> tuple[Any, str]:
        """An image onto the canvas of the brush, and a line about it."""
        if not path:
            return gr.update(value=None), ""
        image = open_upload(path).image
        canvas = {"background": displayed(image), "layers": [], "composite": None}
        return gr.update(value=canvas), self.page_models.get(model).note(image)

    def tokens(self, model: str, path: str | None) -> tuple:
        """An uploaded image, its codes as colours, its reconstruction, and a line about them."""
        if not path:
            return None, None, None, ""
        images, text = self.page_models.get(model).tokens(open_upload(path))
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


def one_label(page_model: PageModel, chosen: Sequence[str | None]) -> str:
    """Choices of the menus as :attr:`PageRequest.label`: the only menu's, or the number of the labels of all
    sets, where a set without a choice is left to the model.

    Raises:
        ConfigError: a choice that is not in its menu.
    """
    sets = page_model.pipe.label_sets
    if sets is None or not any(chosen):
        return chosen[0] or ""
    digits = list(sets.sizes)
    for place, (value, size) in enumerate(zip(chosen, sets.sizes, strict=False)):
        if value:
            right = isinstance(value, str) and value.isascii() and value.isdigit() and int(value) < size
            check(right, "label", value, "choose one of the menu")
            digits[place] = int(value)
    return str(sets.number(digits))


def shape(path: Path) -> list[str]:
    """How results are shown: with square pixels where they are small, on a chequerboard where they are
    transparent."""
    from ..image_io import opened

    with opened(path) as image:
        small, clear = max(image.size) < SMALL, is_transparent(image)
    return ["results", *["pixels"] * small, *["transparent"] * clear]
