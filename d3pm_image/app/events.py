"""Connections between the components of a tab: a press on a button, waiting, results, and their use in other
tabs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from ..config import ConfigError, check
from ..config.data import KINDS
from ..label_sets import counted
from .handlers import GOES_ON, Handlers, friendly
from .page_model import PageModel, open_upload
from .page_models import PageModels
from .parts import ONWARD, Buttons, Fields, Outputs, Upload, of_model

LINE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
"""All work of the model is in one queue: users wait for each other, and see their place."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def draw(
    handlers: Handlers, work: Callable, inputs: list[Any], tab: tuple[Buttons, Outputs], fields: Fields
) -> None:
    """Connect a button to a decode, and another to its end. First the page says that it waits, then the
    decode is queued and shown. At its end, however it ended, the buttons are updated."""
    on, out = tab
    every = [out.download, *out.onward.values()]
    pressed = on.start.click(handlers.wait, outputs=[out.chosen, on.status, *every], queue=False, **QUIET)
    drawn = pressed.then(
        work,
        [*inputs, *fields.all],
        [out.live, out.results, out.download, on.status, on.stop, fields.seed],
        show_progress="minimal",
        show_progress_on=on.status,
        api_visibility="private",
        **LINE,
    )
    for ended in (drawn.success, drawn.failure):  # one that follows either way does not follow an error
        ended(
            settled, [out.results, on.status], [out.live, out.results, on.status, on.stop, *every],
            queue=False, **QUIET,
        )  # fmt: skip
    on.stop.click(handlers.stop, queue=False, **QUIET)


def settled(shown: list | None, status: str | None) -> list[Any]:
    """Updates after a decode, however it ended: show results, enable buttons with something to work on, and
    clear the progress line."""
    over = "" if str(status).startswith(GOES_ON) else gr.skip()
    able = gr.update(interactive=bool(shown))
    hidden, front = gr.update(visible=False), gr.update(visible=True)
    return [hidden, front, over, gr.update(interactive=False), able, *[able] * len(ONWARD)]


def go_on(out: Outputs, images: dict[str, gr.File], tabs: gr.Tabs) -> None:
    """Connect the buttons below results to tabs that use one of them: the one that was clicked on, or the
    first."""
    out.results.select(which, outputs=out.chosen, queue=False, **QUIET)
    for name, button in out.onward.items():
        go = functools.partial(sent, name)
        button.click(friendly(go), [out.results, out.chosen], [images[name], tabs], queue=False, **QUIET)


def which(event: gr.SelectData) -> int:
    """The number of the result that was clicked on."""
    return int(event.index)


def sent(name: str, shown: list[tuple[str, str | None]] | None, chosen: int) -> tuple[str, Any]:
    """A result as the image of a tab, and that tab to the front. Raises ConfigError before there are
    any."""
    check(bool(shown), "", "", "make some images first")
    assert shown
    return shown[min(chosen, len(shown) - 1)][0], gr.update(selected=name)


def heading(page_model: PageModel) -> str:
    """Name of the model, and the images that it makes."""
    (height, width), classes = page_model.pipe.image_size, counted(page_model.pipe.class_names)
    kind = KINDS[page_model.pipe.tokenizer.channels]
    named = f" of {classes}" if classes else ""
    return f"# d3pm-image\n{width}×{height} {kind} images{named}"


def half_width(page_model: PageModel) -> int:
    """Pixels that an image is continued by at first, on the left and on the right."""
    return int(page_model.pipe.image_size[1]) // 2


def note_on(page_model: PageModel, path: str | None) -> str:
    """Note of a model on an uploaded image; empty for one that cannot be read, which was reported at the
    upload."""
    try:
        return page_model.note(open_upload(path).image) if path else ""
    except ConfigError:
        return ""


def follow(
    menu: gr.Dropdown,
    page_models: PageModels,
    head: gr.Markdown,
    fields: list[Fields],
    sides: list[gr.Number],
    uploads: list[Upload],
) -> None:
    """Connect the menu of models to all that depends on the model: its name and size, fields, and the notes
    on uploaded images. Paint, images and results stay."""

    def switched(model: str, *paths: str | None) -> list[Any]:
        page_model = page_models.get(model)
        own = [values for one in fields for values in of_model(page_model, one.any_class)]
        half = [half_width(page_model)] * len(sides)
        notes = [note_on(page_model, path) for path in paths]
        return [heading(page_model), *(gr.update(**v) for v in own), *half, *notes]

    changed = [field for one in fields for field in one.of_model]
    menu.input(
        friendly(switched),
        [menu, *(one.file for one in uploads)],
        [head, *changed, *sides, *(one.about for one in uploads)],
        show_progress="minimal",
        show_progress_on=head,
        api_visibility="private",
    )
