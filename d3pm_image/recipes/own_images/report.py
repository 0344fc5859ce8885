"""``report.html`` of a run: a single file, without other files or network. While the run trains, a page in
its place shows the previews and reloads itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ...config import TrainConfig
from ...imaging import for_viewing
from ...printable import dashed, printable_html
from ...storage import write_text
from .choice import Chosen
from .results import Pair, Results

NAME = "report.html"
STYLE = """
:root { color-scheme: light dark; --line: #8884; --near: #c8102e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; }
p.small, figcaption { font-size: 0.85rem; opacity: 0.8; margin: 0.3rem 0; }
img { max-width: 100%; height: auto; border-radius: 4px; background: #fff; }
img.pixels { image-rendering: pixelated; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top; }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
code, pre { font: 0.85rem/1.5 ui-monospace, monospace; }
pre { padding: 0.8rem 1rem; border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: 1rem; }
.pairs figure { margin: 0; } .pairs .both { display: flex; gap: 4px; } .pairs .both img { width: 50%; }
.near { border: 2px solid var(--near); border-radius: 6px; padding: 4px; }
.near figcaption::before { content: "near-copy · "; color: var(--near); font-weight: 600; }
figcaption { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class ReportText:
    """Texts of a report.

    Args:
        title: What the run is called.
        lines: Sentences below the title.
        durations: Seconds by what took them.
        scores: Sentences with held-out measures.
        commands: Next commands, and those that train again with other settings.
    """

    title: str
    lines: Sequence[str]
    durations: Mapping[str, float]
    scores: Sequence[str]
    commands: Mapping[str, Sequence[str]]


def write_report(out: Path, chosen: Chosen, results: Results, text: ReportText) -> Path:
    """Write the report of a run that has ended."""
    sections = [
        heading(text),
        section("New images", image(results.grid, "new images"), none_chosen()),
        section(
            "Inpainting",
            image(results.inpainting, "inpainting"),
            small("Images that were held out; the middle was hidden, and none of it reached the results."),
        ),
        section("Nearest training images", copies(results), pairs(results.pairs)),
        section(
            "How the training went",
            *(small(score) for score in text.scores),
            small("Stage one, the tokenizer: images to codes and back."),
            image(out / "tokenizer" / "curves.png", "losses of stage one"),
            small("Stage two, the denoiser: new codes."),
            image(out / "curves.png", "losses of stage two"),
            durations(text.durations),
        ),
        section("What was chosen", small("Give an option to change it."), choices(chosen)),
        *(section(name, commands(lines)) for name, lines in text.commands.items()),
    ]
    return written(out, text.title, sections)


def write_progress(out: Path, chosen: Chosen, text: ReportText) -> Path:
    """Write a page that shows the previews of both stages as they are written, and reloads itself."""
    names = [
        *expected("tokenizer/previews/reconstruction", chosen.tokenizer.train),
        *expected("previews/samples", chosen.diffusion.train),
    ]
    shown = "".join(
        f'<figure><img class="pixels" src="{name}" alt="{name}" onerror="this.parentNode.remove()">'
        f"<figcaption>{name}</figcaption></figure>"
        for name in names
    )
    note = small("Training is in progress; this page reloads itself. The newest previews are last.")
    sections = [heading(text), note, shown, section("What was chosen", choices(chosen))]
    return written(out, text.title, sections, '<meta http-equiv="refresh" content="15">')


def expected(stem: str, train: TrainConfig) -> list[str]:
    """The files of a stage's previews, those that are not there yet among them."""
    often = train.preview_every or train.steps
    steps = sorted({*range(often, train.steps + 1, often), train.steps})
    return [f"{stem}-{step:08d}.png" for step in steps]


def written(out: Path, title: str, sections: Sequence[str], head: str = "") -> Path:
    """The page of these parts."""
    place = out / NAME
    write_text(
        place,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"{head}<title>{escaped(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n",
    )
    return place


def escaped(value: object) -> str:
    """Escape text for a page: names of files and classes may be hostile."""
    return printable_html(value, 300)


def heading(text: ReportText) -> str:
    """Title, and the sentences below it."""
    return f"<h1>{escaped(text.title)}</h1>" + "".join(small(line) for line in text.lines)


def section(name: str, *parts: str) -> str:
    """Parts under a heading."""
    return f"<section><h2>{escaped(name)}</h2>\n{''.join(parts)}</section>"


def small(line: str) -> str:
    """A sentence in small letters."""
    return f'<p class="small">{escaped(line)}</p>'


def none_chosen() -> str:
    """Caption of the grid."""
    return small("The first ones that were generated, not cherry-picked. Classes take turns.")


def address(shown: Image.Image) -> str:
    """An image as a data URI."""
    stream = io.BytesIO()
    shown.save(stream, "PNG")
    return uri(stream.getvalue())


def uri(png: bytes) -> str:
    """The data URI of a PNG file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def image(path: Path, words: str) -> str:
    """An image file inside the page, or a line that it is missing."""
    if not path.is_file():
        return small(f"{path.name} is not there.")
    return f'<img src="{uri(path.read_bytes())}" alt="{escaped(words)}">'


def copies(results: Results) -> str:
    """Sentence about near-copies."""
    some = f"{results.near} of {results.drawn} new images"
    said = {0: "None of the new images is a near-copy", 1: f"1 of {results.drawn} new images is a near-copy"}
    first = said.get(results.near, f"{some} are near-copies")
    return small(
        f"{first} of a training image: nearer to one of {results.compared} than 99 in 100 held-out images"
        f" (a difference under {results.limit:.1f} of 255 levels at 32 pixels). Below: those that come"
        " nearest, each beside its training image."
    )


def pairs(found: Sequence[Pair]) -> str:
    """New images beside their nearest training images."""
    return f'<div class="pairs">{"".join(map(pair, found))}</div>'


def pair(one: Pair) -> str:
    """A new image and the training image that is nearest to it."""
    images = "".join(
        f'<img class="pixels" src="{address(for_viewing(shown, 128))}" alt="{words}">'
        for shown, words in ((one.sample, "new"), (one.training, "training image"))
    )
    caption = f"<figcaption>{escaped(one.name)}, difference {one.distance:.1f}</figcaption>"
    near = ' class="near"' if one.near else ""
    return f'<figure{near}><div class="both">{images}</div>{caption}</figure>'


def durations(seconds: Mapping[str, float]) -> str:
    """Table of durations."""
    rows = "".join(
        f'<tr><td>{escaped(name)}</td><td class="number">{clock(value)}</td></tr>'
        for name, value in seconds.items()
    )
    return f"<table>{rows}</table>"


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def choices(chosen: Chosen) -> str:
    """Table of choices with reasons."""
    rows = "".join(
        f"<tr><td><code>--{escaped(dashed(r.option))} {escaped(r.value)}</code></td>"
        f"<td>{escaped(r.why)}</td></tr>"
        for r in chosen.reasons
    )
    return f"<table>{rows}</table>"


def commands(lines: Sequence[str]) -> str:
    """Commands to copy."""
    return "<pre>" + "\n".join(printable_html(line, 0) for line in lines) + "</pre>"
