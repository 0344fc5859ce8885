"""The page: one tab per task, settings on the left, images on the right."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..config import check
from ..sampling import SAMPLERS
from .guard import Page
from .handlers import PROMISE, Handlers, friendly
from .session import MOST_IMAGES, Studio

LINE: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
"""All work of the model stands in one line: users wait for each other, and see where they stand."""
MOST_SEED = 2**31 - 1
ONWARD = {"inpaint": "Inpaint it", "outpaint": "Outpaint it", "vary": "Vary it"}


@dataclass(frozen=True)
class Outputs:
    """Where a decode shows: live image, results, download, status; the result last clicked on, and the tabs
    that it can go on to."""

    live: gr.Image
    results: gr.Gallery
    download: gr.DownloadButton
    status: gr.Markdown
    chosen: gr.State
    onward: dict[str, gr.Button]

    @property
    def all(self) -> list[Any]:
        """The outputs in the order in which handlers give them."""
        return [self.live, self.results, self.download, self.status]


def build(studio: Studio) -> Page:
    """The page of a studio; ``launch`` it."""
    handlers = Handlers(studio)
    with Page(title="d3pm-image", analytics_enabled=False) as page:
        page.folder = studio.shelf.folder
        gr.Markdown(heading(studio), elem_id="head")
        images: dict[str, gr.File] = {}
        with gr.Tabs() as tabs:
            with gr.Tab("Generate", id="generate"):
                made = [generate_tab(studio, handlers)]
            for name, title, tab in (
                ("inpaint", "Inpaint", inpaint_tab),
                ("outpaint", "Outpaint", outpaint_tab),
                ("vary", "Variations", vary_tab),
            ):
                with gr.Tab(title, id=name):
                    images[name], out = tab(studio, handlers)
                    made.append(out)
            with gr.Tab("Tokenizer", id="tokens"):
                tokens_tab(handlers)
            with gr.Tab("Settings of an image", id="show"):
                show_tab(handlers)
        for out in made:
            go_on(out, images, tabs)
        page.unload(handlers.stop)
    return page


def heading(studio: Studio) -> str:
    """Name, model and what it makes."""
    (height, width), classes = studio.pipe.image_size, len(studio.pipe.class_names)
    kind = "grey" if studio.pipe.tokenizer.channels == 1 else "colour"
    named = f" of {classes} classes" if classes else ""
    return f"# d3pm-image\n{studio.model} — {width}×{height} {kind} images{named}"


def settings(studio: Studio, count: int, any_class: str, folded: bool = True) -> list[Any]:
    """The fields of :meth:`Handlers.drawing`, in its order."""
    names, usual = studio.pipe.class_names, studio.pipe.sampling
    choices = [
        (any_class, ""),
        *([("no class", "none")] if any_class.startswith("any") else []),
        *((n, str(i)) for i, n in enumerate(names)),
    ]
    label = gr.Dropdown(choices, value="", label="Class", visible=bool(names), filterable=len(names) > 12)
    number = gr.Slider(1, MOST_IMAGES, value=count, step=1, label="Images")
    with gr.Accordion("How it is drawn", open=not folded):
        with gr.Row():
            sampler = gr.Dropdown(
                list(SAMPLERS), value=studio.pipe.sampler.name, label="Sampler", min_width=120
            )
            steps = gr.Slider(1, 100, value=min(usual.steps, 100), step=1, label="Steps", min_width=120)
        with gr.Row():
            guidance = gr.Slider(
                0,
                max(6, usual.guidance),
                value=usual.guidance,
                step=0.1,
                label="Guidance",
                visible=bool(names),
                min_width=120,
            )
            temperature = gr.Slider(
                0.1, 2, value=usual.temperature, step=0.05, label="Temperature", min_width=120
            )
        with gr.Row():
            seed = gr.Number(0, precision=0, minimum=0, maximum=MOST_SEED, label="Seed", min_width=120)
            gr.Button("New seed", size="md", min_width=110, elem_classes=["beside"]).click(
                lambda: random.randint(0, MOST_SEED),
                outputs=seed,
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )
    return [label, number, sampler, steps, guidance, temperature, seed]


def results(columns: int = 4) -> Outputs:
    """The right side of a tab that draws."""
    live = gr.Image(
        label="Being drawn",
        show_label=False,
        visible=False,
        interactive=False,
        format="png",
        buttons=[],
        elem_classes=["live"],
        height=520,
    )
    gallery = gr.Gallery(
        label="Results", show_label=False, columns=columns, object_fit="contain", height=None, format="png",
        type="filepath", buttons=["download", "fullscreen"], interactive=False, elem_classes=["results"],
        preview=False
    )  # fmt: skip
    status = gr.Markdown("", elem_classes=["status"])
    with gr.Row():
        download = gr.DownloadButton("Download", interactive=False, size="sm", min_width=90)
        onward = {name: gr.Button(text, size="sm", min_width=90) for name, text in ONWARD.items()}
    return Outputs(live, gallery, download, status, gr.State(0), onward)


def go_on(out: Outputs, images: dict[str, gr.File], tabs: gr.Tabs) -> None:
    """Tie the buttons below results to the tabs that take one of them: the one that was clicked on, or the
    first."""
    out.results.select(
        which, outputs=out.chosen, queue=False, show_progress="hidden", api_visibility="private"
    )
    for name, button in out.onward.items():
        go = functools.partial(sent, name)
        button.click(
            friendly(go),
            [out.results, out.chosen],
            [images[name], tabs],
            show_progress="hidden",
            api_visibility="private",
            queue=False,
        )


def which(event: gr.SelectData) -> int:
    """The number of the result that was clicked on."""
    return int(event.index)


def sent(name: str, shown: list[tuple[str, str | None]] | None, chosen: int) -> tuple[str, Any]:
    """A result as the image of a tab, and that tab to the front. Raises ConfigError before there are
    any."""
    check(bool(shown), "image", "none", "make some first")
    assert shown
    return shown[min(chosen, len(shown) - 1)][0], gr.update(selected=name)


def draw(
    button: gr.Button,
    stop: gr.Button,
    handlers: Handlers,
    work: Callable,
    inputs: list[Any],
    outputs: Outputs,
) -> None:
    """Tie a button to a decode, and another to its end."""
    button.click(
        work,
        inputs,
        outputs.all,
        show_progress="minimal",
        show_progress_on=outputs.status,
        api_visibility="private",
        **LINE,
    )
    button.click(
        lambda: 0, outputs=outputs.chosen, queue=False, show_progress="hidden", api_visibility="private"
    )
    stop.click(handlers.stop, queue=False, show_progress="hidden", api_visibility="private")


def buttons(text: str) -> tuple[gr.Button, gr.Button]:
    """A button that starts, and one that stops."""
    with gr.Row():
        return gr.Button(text, variant="primary", scale=3), gr.Button("Stop", scale=1, min_width=60)


def upload(name: str) -> gr.File:
    """A field for an image of the user's own; the file itself comes here, not what a browser makes of it."""
    return gr.File(
        label="Your image: drop it here",
        file_types=["image"],
        type="filepath",
        height=110,
        elem_id=f"{name}-image",
    )


def hint(text: str) -> None:
    """A line in small print."""
    gr.Markdown(text, elem_classes=["hint"])


def generate_tab(studio: Studio, handlers: Handlers) -> Outputs:
    """New images."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            fields = settings(
                studio, min(16, max(4, len(studio.pipe.class_names))), "any: each in turn", folded=False
            )
            button, stop = buttons("Generate")
        with gr.Column(scale=3, min_width=360):
            out = results(5)
    draw(button, stop, handlers, handlers.generate, fields, out)
    return out


def inpaint_tab(studio: Studio, handlers: Handlers) -> tuple[gr.File, Outputs]:
    """A brush on an image of one's own."""
    with gr.Row():
        with gr.Column(scale=1, min_width=360):
            image = upload("inpaint")
            editor = gr.ImageEditor(
                type="pil", format="png", image_mode="RGBA", layers=False, transforms=(), sources=(),
                buttons=[], height=520, label="Paint over what shall be made anew", show_label=False,
                brush=gr.Brush(24, ["#14b8a6"], default_color="#14b8a6", color_mode="fixed"),
                elem_id="inpaint-editor",
            )  # fmt: skip
            about = gr.Markdown(PROMISE, elem_classes=["hint"])
            button, stop = buttons("Inpaint")
        with gr.Column(scale=1, min_width=360):
            out = results(2)
            fields = settings(studio, 4, "none")
            feather = gr.Slider(
                0, 32, value=0, step=1, label="Feather (pixels around the paint that fade; 0 keeps them all)"
            )
    image.change(
        friendly(handlers.load), image, [editor, about], show_progress="hidden", api_visibility="private"
    )
    draw(button, stop, handlers, handlers.inpaint, [image, editor, feather, *fields], out)
    return image, out


def outpaint_tab(studio: Studio, handlers: Handlers) -> tuple[gr.File, Outputs]:
    """An image, continued on its sides."""
    width = studio.pipe.image_size[1]
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            image = upload("outpaint")
            with gr.Row():
                sides = [
                    gr.Number(value, precision=0, minimum=0, label=name, min_width=70)
                    for name, value in (
                        ("Left", width // 2),
                        ("Top", 0),
                        ("Right", width // 2),
                        ("Bottom", 0),
                    )
                ]
            hint("Pixels to add on each side. The image itself stays exactly as it is.")
            fields = settings(studio, 4, "none")
            button, stop = buttons("Outpaint")
        with gr.Column(scale=3, min_width=360):
            out = results(2)
    image.change(friendly(handlers.check), image, show_progress="hidden", api_visibility="private")
    draw(button, stop, handlers, handlers.outpaint, [image, *sides, *fields], out)
    return image, out


def vary_tab(studio: Studio, handlers: Handlers) -> tuple[gr.File, Outputs]:
    """Variations of an image."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            image = upload("vary")
            strength = gr.Slider(
                0,
                1,
                value=0.5,
                step=0.05,
                label="Strength (0 keeps what the tokenizer keeps, 1 is a new image)",
            )
            fields = settings(studio, 6, "none")
            button, stop = buttons("Vary")
        with gr.Column(scale=3, min_width=360):
            out = results(3)
    image.change(friendly(handlers.check), image, show_progress="hidden", api_visibility="private")
    draw(button, stop, handlers, handlers.vary, [image, strength, *fields], out)
    return image, out


def tokens_tab(handlers: Handlers) -> None:
    """What the tokenizer makes of an image."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = upload("tokens")
            hint(
                "The tokenizer turns an image into a grid of codes, each shown in a colour of its own, and"
                " back."
            )
            text = gr.Markdown("", elem_classes=["status"])
        with gr.Column(scale=3, min_width=360), gr.Row():
            shown = [
                token_image(name)
                for name in ("Original, as the model sees it", "Its codes", "Reconstruction")
            ]
    image.change(
        friendly(handlers.tokens),
        image,
        [*shown, text],
        show_progress="hidden",
        api_visibility="private",
        **LINE,
    )


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
        )


def show_tab(handlers: Handlers) -> None:
    """How an image was made."""
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            image = gr.File(
                label="A PNG made here or on the command line",
                file_types=[".png"],
                type="filepath",
                height=110,
                elem_id="show-image",
            )
            hint("`d3pm-image show IMAGE` says the same; with `--again` it makes the image anew.")
        with gr.Column(scale=2, min_width=360):
            metadata = gr.HTML("")
    image.change(friendly(handlers.read), image, metadata, show_progress="hidden", api_visibility="private")
