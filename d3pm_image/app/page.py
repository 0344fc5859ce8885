"""The page: one tab per task, settings on the left, images on the right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from .events import LINE, QUIET, draw, follow, go_on, half_width, heading
from .guard import Page
from .handlers import PROMISE, Handlers, friendly
from .page_model import PageModel
from .page_models import PageModels
from .parts import (
    ANY,
    Buttons,
    Fields,
    Outputs,
    Upload,
    buttons,
    hint,
    how,
    results,
    shown_upload,
    token_image,
    upload,
    what,
)

FOLDED = "How it is drawn"
Edit = tuple[Fields, Outputs, Upload]


def build(page_model: PageModel) -> Page:
    """The page of a page_model, with a menu of further models; ``launch`` it."""
    page_models = PageModels(page_model)
    handlers = Handlers(page_models)
    with Page(title="d3pm-image", analytics_enabled=False) as page:
        page.folder = page_model.shelf.folder
        with gr.Row(elem_id="top"):
            head = gr.Markdown(heading(page_model), elem_id="head")
            menu = gr.Dropdown(
                page_models.names, value=page_model.model, label="Model",
                filterable=len(page_models.names) > 12, elem_id="model", container=False, min_width=230,
            )  # fmt: skip
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("Generate", id="generate"):
                fields, out = generate_tab(page_model, handlers, menu)
            with gr.Tab("Inpaint", id="inpaint", elem_id="inpaint"):
                inpaint = inpaint_tab(page_model, handlers, menu)
            with gr.Tab("Outpaint", id="outpaint"):
                outpaint, sides = outpaint_tab(page_model, handlers, menu)
            with gr.Tab("Variations", id="vary"):
                vary = vary_tab(page_model, handlers, menu)
            with gr.Tab("Seamless", id="tile"):
                tile = tile_tab(page_model, handlers, menu)
            with gr.Tab("Tokenizer", id="tokens"):
                tokens_tab(handlers, menu)
            with gr.Tab("Settings of an image", id="show"):
                show_tab(handlers)
        edits = {"inpaint": inpaint, "outpaint": outpaint, "vary": vary}
        files = {name: own.file for name, (_, _, own) in edits.items()}
        for shown in (out, *(shown for _, shown, _ in edits.values())):
            go_on(shown, files, tabs)
        edits["tile"] = tile
        every = [fields, *(one for one, _, _ in edits.values())]
        follow(menu, page_models, head, every, sides, [own for _, _, own in edits.values()])
        page.unload(handlers.stop)
    return page


def generate_tab(page_model: PageModel, handlers: Handlers, menu: gr.Dropdown) -> tuple[Fields, Outputs]:
    """New images."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            basic = what(page_model, min(16, max(4, len(page_model.pipe.class_names))), ANY)
            on = buttons("Generate")
            with gr.Accordion(FOLDED, open=False):
                fields = how(page_model, *basic, ANY)
        with gr.Column(scale=3, min_width=320):
            out = results(5)
    draw(handlers, handlers.generate, [menu], (on, out), fields)
    return fields, out


def inpaint_tab(page_model: PageModel, handlers: Handlers, menu: gr.Dropdown) -> Edit:
    """A brush on an uploaded image."""
    with gr.Row():
        with gr.Column(scale=1, min_width=320):
            image = upload("inpaint")
            editor = gr.ImageEditor(
                type="pil", format="png", image_mode="RGBA", layers=False, transforms=(), sources=(),
                buttons=[], height=440, label="Paint over what should be redrawn", show_label=False,
                brush=gr.Brush(24, ["#14b8a6"], default_color="#14b8a6", color_mode="fixed"),
                elem_id="inpaint-editor",
            )  # fmt: skip
            own = Upload(image, editor, hint("", "about"))
            hint(PROMISE)
        with gr.Column(scale=1, min_width=320):
            basic = what(page_model, 4)
            on = buttons("Inpaint")
            out = results(3, 400)
            with gr.Accordion(FOLDED, open=False):
                fields = how(page_model, *basic)
                feather = gr.Slider(
                    0,
                    32,
                    value=0,
                    step=1,
                    label="Feather (pixels around the paint that fade; 0 keeps them all)",
                    buttons=[],
                )
    image.change(friendly(handlers.load), [menu, image], [editor, own.about], **QUIET)
    draw(handlers, handlers.inpaint, [menu, image, editor, feather], (on, out), fields)
    return fields, out, own


def asked(page_model: PageModel, count: int, text: str) -> tuple[Buttons, Fields]:
    """What an edit is asked for, below the uploaded image: labels, number, the button, and how it is
    drawn."""
    basic = what(page_model, count)
    on = buttons(text)
    with gr.Accordion(FOLDED, open=False):
        return on, how(page_model, *basic)


def connect(
    handlers: Handlers,
    work: Callable,
    inputs: list[Any],
    tab: tuple[Buttons, Outputs],
    fields: Fields,
    own: Upload,
) -> None:
    """Connect the upload, which is shown, and the button of an edit; the first inputs are the menu of models
    and the file."""
    own.file.change(friendly(handlers.check), inputs[:2], [own.shown, own.about], **QUIET)
    draw(handlers, work, inputs, tab, fields)


def outpaint_tab(
    page_model: PageModel, handlers: Handlers, menu: gr.Dropdown
) -> tuple[Edit, list[gr.Number]]:
    """An image, continued on its sides."""
    half = half_width(page_model)
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            own = shown_upload("outpaint")
            with gr.Row():
                sides = [
                    gr.Number(value, precision=0, minimum=0, label=name, min_width=70)
                    for name, value in (("Left", half), ("Top", 0), ("Right", half), ("Bottom", 0))
                ]
            hint("Pixels to add on each side. The image itself stays exactly as it is.")
            on, fields = asked(page_model, 4, "Outpaint")
        with gr.Column(scale=3, min_width=320):
            out = results(2)
    connect(handlers, handlers.outpaint, [menu, own.file, *sides], (on, out), fields, own)
    return (fields, out, own), [sides[0], sides[2]]


def vary_tab(page_model: PageModel, handlers: Handlers, menu: gr.Dropdown) -> Edit:
    """Variations of an image."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            own = shown_upload("vary")
            strength = gr.Slider(
                0,
                1,
                value=0.5,
                step=0.05,
                label="Strength (0 keeps what the tokenizer keeps, 1 is a new image)",
                buttons=[],
            )
            on, fields = asked(page_model, 6, "Vary")
        with gr.Column(scale=3, min_width=320):
            out = results(3)
    connect(handlers, handlers.vary, [menu, own.file, strength], (on, out), fields, own)
    return fields, out, own


def tile_tab(page_model: PageModel, handlers: Handlers, menu: gr.Dropdown) -> Edit:
    """An image, made seamless."""
    axes = [("both ways", "both"), ("beside itself", "x"), ("below itself", "y")]
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            own = shown_upload("tile")
            with gr.Row():
                axis = gr.Dropdown(axes, value="both", label="The image shall repeat", min_width=190)
                width = gr.Number(0, precision=0, minimum=0, label="Width of the bands", min_width=120)
            hint(
                "Bands of so many pixels across the border are redrawn, and every other pixel stays. 0 is a"
                " quarter of the side, at most 64."
            )
            on, fields = asked(page_model, 2, "Make seamless")
        with gr.Column(scale=3, min_width=320):
            out = results(2)
    connect(handlers, handlers.tile, [menu, own.file, axis, width], (on, out), fields, own)
    return fields, out, own


def tokens_tab(handlers: Handlers, menu: gr.Dropdown) -> None:
    """Codes and reconstruction of an image."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = upload("tokens")
            hint(
                "The tokenizer turns an image into a grid of codes, each shown in a colour of its own, and"
                " back."
            )
            text = gr.Markdown("", elem_classes=["status"])
        with gr.Column(scale=3, min_width=320), gr.Row():
            shown = [
                token_image(name)
                for name in ("Original, as the model sees it", "Its codes", "Reconstruction")
            ]
    gr.on(
        [image.change, menu.input],
        friendly(handlers.tokens),
        [menu, image],
        [*shown, text],
        show_progress="minimal",
        show_progress_on=text,
        api_visibility="private",
        **LINE,
    )


def show_tab(handlers: Handlers) -> None:
    """How an image was made."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = gr.File(
                label="A PNG made here or on the command line",
                file_types=[".png"],
                type="filepath",
                height=90,
                elem_id="show-image",
                elem_classes=["upload"],
            )
            hint("`d3pm-image show IMAGE` says the same; with `--again` it makes the image again.")
        with gr.Column(scale=2, min_width=320):
            metadata = gr.HTML("")
    image.change(friendly(handlers.read), image, metadata, **QUIET)
