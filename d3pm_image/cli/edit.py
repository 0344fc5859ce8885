"""``d3pm-image inpaint | outpaint | edit | vary MODEL IMAGE …``: repaint a part of an image, continue it, or
vary it.

Nothing here imports torch, NumPy or Pillow, not even for types: ``--help`` reads what this module imports for
them too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..config import editing, need
from ..labels import read_classes
from ..printable import printable
from .options import WatchedOptions, say
from .parsing import parse

TEXTS = {
    "model": "Model folder, or the run that trained it.",
    "image": "Picture of any size and mode.",
    "mask": (
        "Picture of the same size: white is repainted; or the word alpha: where the picture itself is"
        " transparent."
    ),
}
HOW = ("variants", "first", "ring", "feather", "window", "seed", "batch_size")
"""Options that the pipeline's functions take under the same names."""


@dataclass(frozen=True, kw_only=True)
class Inpaint(editing.Inpaint, WatchedOptions):
    """Repaint a part of a picture: the white of a mask, a box, a polygon, or what is transparent. Every pixel
    outside it stays exactly as it is."""


@dataclass(frozen=True, kw_only=True)
class Outpaint(editing.Outpaint, WatchedOptions):
    """Continue a picture beyond its borders. Every pixel of the picture stays exactly as it is."""


@dataclass(frozen=True, kw_only=True)
class Edit(editing.Edit, WatchedOptions):
    """Repaint a part of a picture as a class of your choice. Every pixel outside that part stays exactly as
    it is."""


@dataclass(frozen=True, kw_only=True)
class Vary(editing.Vary, WatchedOptions):
    """Variations of a picture, or of the part that a mask, box or polygon marks: its codes are corrupted to a
    noise level and denoised from there."""


Options = Inpaint | Outpaint | Edit | Vary
EDITS: dict[str, tuple[type[Options], str]] = {
    "inpaint": (Inpaint, "inpainted"),
    "outpaint": (Outpaint, "outpainted"),
    "edit": (Edit, "edited"),
    "vary": (Vary, "varied"),
}
"""Options of each command, and the ending of the default result's name."""


def run(command: str, args: Options) -> None:
    """Read, check all that can be checked before a model is loaded, repaint, write and say where.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..editing.image_files.files import check_outputs, read_picture, result_path
    from ..editing.results import coloured, result_files
    from ..pipeline import load_pipeline

    picture = read_picture(args.image)
    out = Path(args.out) if args.out else result_path(picture, EDITS[command][1])
    outputs = [out, *result_files(out, args.variants)]
    check_outputs(outputs, args.inputs())
    watch = args.recorder(outputs, args.inputs())
    say(command, picture.notes)
    before, hidden = prepared(args, picture.image)
    pipe = load_pipeline(args, args.model)
    if pipe.tokenizer.channels == 1 and coloured(picture.image):
        say(command, ["the model knows grey pictures only: what it paints into this one has no colour"])
    how: dict[str, Any] = {name: getattr(args, name) for name in HOW} | {
        "callback": watch,
        **args.painted(),
        **args.changes(),
    }
    label = label_of(args, pipe.class_names)
    if command == "outpaint":
        results = pipe.outpaint(picture.image, labels=label, **how)
    else:
        results = pipe.inpaint(picture.image, hidden, label, **how)
    finish(command, args, picture, pipe, results, (before, hidden), out, watch)


def prepared(args: Options, image: Any) -> tuple[Any, Any]:
    """What is repainted: the image, or the larger one, and which of its pixels, (h, w) bool; None for all.

    Raises:
        ConfigError: a region that cannot be read, or none, or no class, where one is needed.
    """
    from ..editing.inputs import read_region
    from ..editing.outpaint import extend

    if isinstance(args, Outpaint):
        return extend(image, **args.painted())
    hidden = read_region(image, args.mask, args.box, args.polygon, needed=not isinstance(args, Vary))
    if isinstance(args, Edit):
        need(bool(args.label.strip()), "label", args.label, "is needed: one class, by name or number")
    return image, hidden


def label_of(args: Options, class_names: Sequence[str]) -> int | None:
    """The class to paint; None for none. Raises ConfigError for an unknown one, more than one, or none where
    one is needed."""
    field = "label" if isinstance(args, Edit) else "labels"
    (label,) = read_classes(getattr(args, field), class_names, field)
    missing = label is None and isinstance(args, Edit)
    need(not missing, field, getattr(args, field), "name the class that the region shall show")
    return label


def finish(
    command: str,
    args: Options,
    picture: Any,
    pipe: Any,
    results: Sequence[Any],
    shown: tuple[Any, Any],
    out: Path,
    watch: Any,
) -> None:
    """Write results and say where they are.

    Args:
        shown: What a sheet shows as the original, and what of it was repainted, (h, w) bool.
    """
    from ..editing.results import write_results
    from ..provenance import edit_record, made_by

    hidden, several, settings = shown[1], len(results) > 1, pipe.request(**args.changes()).values()
    left_out = {"image", "mask", "out", "variants"} | {f.name for f in dataclasses.fields(WatchedOptions)}
    own = [f.name for f in dataclasses.fields(args) if f.name not in left_out]
    options = {name: getattr(args, name) for name in (*own, "seed", "batch_size")}
    options["precision"] = pipe.precision
    made = made_by(args.model, pipe.tokenizer, pipe.denoiser)
    facts = edit_record(
        command, options, settings, made, picture.path, hidden if getattr(args, "mask", "") else None
    )
    facts |= {"variants": len(results)} if several else {}
    paths, note = write_results(results, out, picture, facts, shown, args.first, args.overwrite)
    say(command, [note] if note else [])
    share = "" if hidden is None else f" {hidden.mean():.0%} of the picture,"
    also = f" and {printable(paths[1].name, 0)} …" if several else ""
    print(f"{command}:{share} {len(results)} result{'s' if several else ''}: {printable(paths[0], 0)}{also}")
    args.show(watch, pipe, f"{command} · result 1 · {facts['sampler']} · seed {args.seed}", facts)


def main(command: str, arguments: list[str]) -> None:
    """Read the options of one of the commands and run it. Raises ConfigError for wrong input."""
    kind = EDITS[command][0]
    names = [name for name in TEXTS if name in kind.__dataclass_fields__]
    run(command, parse(command, kind, arguments, {name: TEXTS[name] for name in names}, optional=("mask",)))


inpaint, outpaint = partial(main, "inpaint"), partial(main, "outpaint")
edit, vary = partial(main, "edit"), partial(main, "vary")
