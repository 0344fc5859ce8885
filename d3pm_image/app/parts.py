"""Components of the page's tabs: fields, results, buttons. Properties that depend on the model are in
:func:`of_model`, from which a change of the model sets them again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..label_sets import sets_of
from ..sampling import SAMPLERS
from .page_model import MOST_IMAGES, PageModel

MOST_SEED = 2**31 - 1
ONWARD = {"inpaint": "Inpaint it", "outpaint": "Outpaint it", "vary": "Vary it"}
ANY, NONE = "any: each in turn", "none"
"""The first choice of a class: of new images, and of edits."""
ANY_OF_SET = "any"
MENUS = 4
"""Sets of labels that the page shows; further ones are left to the model."""


@dataclass(frozen=True)
class Fields:
    """How images are drawn; ``any_class`` is the first choice of a class. There is a menu of labels for the
    class, or for each set of labels; others are not shown."""

    labels: list[gr.Dropdown]
    count: gr.Slider
    sampler: gr.Dropdown
    steps: gr.Slider
    guidance: gr.Slider
    temperature: gr.Slider
    seed: gr.Number
    pinned: gr.Checkbox
    any_class: str

    @property
    def all(self) -> list[Any]:
        """In the order of :meth:`Handlers.drawing`."""
        return [*self.of_model, self.count, self.seed, self.pinned]

    @property
    def of_model(self) -> list[Any]:
        """Those that a change of the model sets, in the order of :func:`of_model`."""
        return [*self.labels, self.sampler, self.steps, self.guidance, self.temperature]


@dataclass(frozen=True)
class Buttons:
    """Buttons that start and stop a decode, and the line below them with its progress."""

    start: gr.Button
    stop: gr.Button
    status: gr.Markdown


@dataclass(frozen=True)
class Outputs:
    """Outputs of a decode: live image, results, download; the result last clicked on, and the tabs that can
    use it."""

    live: gr.Image
    results: gr.Gallery
    download: gr.DownloadButton
    chosen: gr.State
    onward: dict[str, gr.Button]


@dataclass(frozen=True)
class Upload:
    """An uploaded image: the file, the shown version, and a line about it."""

    file: gr.File
    shown: Any
    about: gr.Markdown


def of_model(page_model: PageModel, any_class: str) -> list[dict[str, Any]]:
    """Properties of :attr:`Fields.of_model` that a model sets."""
    names, usual = page_model.pipe.class_names, page_model.pipe.sampling
    return [
        *menus_of(names, any_class),
        {"value": page_model.pipe.sampler.name},
        {"value": min(usual.steps, 100)},
        {"maximum": max(6, usual.guidance), "value": usual.guidance, "visible": bool(names)},
        {"value": usual.temperature},
    ]


def menus_of(names: Sequence[str], any_class: str) -> list[dict[str, Any]]:
    """Properties of the menus of labels: one for the class, or one for each set; the rest are not shown."""
    sets = sets_of(names)
    titles = ("Class",) if sets is None else sets.names[:MENUS]
    kinds: Sequence[Sequence[str]] = (names,) if sets is None else sets.labels[:MENUS]
    found = []
    for title, labels in zip(titles, kinds, strict=True):
        first = [(any_class if sets is None else ANY_OF_SET, "")]
        none = [("no class", "none")] if any_class == ANY and sets is None else []
        choices = first + none + [(name, str(number)) for number, name in enumerate(labels)]
        title = title if sets is None else title.capitalize()
        found.append(
            {"choices": choices, "label": title, "filterable": len(labels) > 12, "visible": bool(names)}
        )
    hidden: dict[str, Any] = {"choices": [("", "")], "filterable": False, "visible": False}
    rest = [{**hidden, "label": f"Labels {number}"} for number in range(len(found) + 1, MENUS + 1)]
    return [{**menu, "value": ""} for menu in [*found, *rest]]


def what(page_model: PageModel, count: int, any_class: str = NONE) -> tuple[list[gr.Dropdown], gr.Slider]:
    """The most frequent fields: labels and number."""
    with gr.Row():
        menus = menus_of(page_model.pipe.class_names, any_class)
        labels = [gr.Dropdown(min_width=170, **menu) for menu in menus]
        number = gr.Slider(1, MOST_IMAGES, value=count, step=1, label="Images", min_width=170, buttons=[])
    return labels, number


def how(page_model: PageModel, labels: list[gr.Dropdown], count: gr.Slider, any_class: str = NONE) -> Fields:
    """All other fields, collapsed."""
    sampler, steps, guidance, temperature = of_model(page_model, any_class)[MENUS:]
    narrow: dict[str, Any] = {"min_width": 120}
    slider: dict[str, Any] = {"buttons": [], **narrow}
    with gr.Row():
        drawn = gr.Dropdown(list(SAMPLERS), label="Sampler", **narrow, **sampler)
        number = gr.Slider(1, 100, step=1, label="Steps", **slider, **steps)
    with gr.Row():
        guided = gr.Slider(0, step=0.1, label="Guidance", **slider, **guidance)
        warm = gr.Slider(0.1, 2, step=0.05, label="Temperature", **slider, **temperature)
    with gr.Row():
        seed = gr.Number(0, precision=0, minimum=0, maximum=MOST_SEED, label="Seed", **narrow)
        pinned = gr.Checkbox(
            False, label="Keep this seed", info="Otherwise each press takes a new one.", **narrow
        )
    return Fields(labels, count, drawn, number, guided, warm, seed, pinned, any_class)


def buttons(text: str) -> Buttons:
    """A button that starts, one that stops, and their line."""
    with gr.Row():
        start = gr.Button(text, variant="primary", scale=3, elem_classes=["start"])
        stop = gr.Button("Stop", scale=1, min_width=60, interactive=False)
    return Buttons(start, stop, gr.Markdown("", elem_classes=["status"]))


def results(columns: int = 4, height: int = 520) -> Outputs:
    """Where results of a tab are shown; ``height`` in pixels of the screen."""
    live = gr.Image(
        label="Being drawn", show_label=False, visible=False, interactive=False, format="png", buttons=[],
        elem_classes=["live"], height=height, alt_text="The images being drawn; what is masked is grey",
    )  # fmt: skip
    gallery = gr.Gallery(
        label="Results", show_label=False, columns=columns, object_fit="contain", height=None, format="png",
        type="filepath", buttons=["download", "fullscreen"], interactive=False,
        elem_classes=["results"], preview=False,
    )  # fmt: skip
    with gr.Row(elem_classes=["onward"]):
        small: dict[str, Any] = {"size": "sm", "min_width": 90, "interactive": False}
        download = gr.DownloadButton("Download", **small)
        onward = {name: gr.Button(text, **small) for name, text in ONWARD.items()}
    return Outputs(live, gallery, download, gr.State(0), onward)


def upload(name: str) -> gr.File:
    """A field for an uploaded image; the file itself is sent, not the browser's version of it."""
    return gr.File(
        label="Your image: drop it here",
        file_types=["image"],
        type="filepath",
        height=90,
        elem_id=f"{name}-image",
        elem_classes=["upload"],
    )


def shown_upload(name: str) -> Upload:
    """The same with the image below it, once it is there."""
    file = upload(name)
    shown = gr.Image(
        label="Your image", show_label=False, visible=False, interactive=False, format="png", buttons=[],
        elem_id=f"{name}-own", elem_classes=["own"], height=130, alt_text="Your image",
    )  # fmt: skip
    return Upload(file, shown, hint("", "about"))


def hint(text: str, *classes: str) -> gr.Markdown:
    """A line in small print."""
    return gr.Markdown(text, elem_classes=["hint", *classes])


def token_image(name: str) -> gr.Image:
    """An image under its name."""
    with gr.Column(min_width=180):
        hint(name)
        return gr.Image(
            label=name,
            show_label=False,
            interactive=False,
            format="png",
            buttons=["fullscreen"],
            height=320,
            elem_classes=["live"],
            alt_text=name,
        )
