"""``d3pm-image inpaint | outpaint | edit | vary | tile MODEL IMAGE …``: repaint a part of an image, continue
it, vary it, or make it seamless; or do this to every image of a folder.

Nothing here imports torch, NumPy or Pillow, not even for types, because ``--help`` resolves these imports
too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..config import check, editing
from ..labels import read_classes
from ..parser import parse
from ..printable import printable
from .options import WatchedOptions, left_to_the_first, say

TEXTS = {
    "model": "Model folder, or the run that trained it.",
    "image": "Image of any size and mode, or a folder of them.",
    "mask": (
        "Image of the same size: white is repainted; or the word alpha: where the image itself is"
        " transparent. For a folder of images: one for all, or a folder with one of the same name for each."
    ),
}
HOW = ("variants", "ring", "feather", "window", "seed", "batch_size")
"""Options that the pipeline's functions take under the same names."""
GREY_ALL = editing.GREY_MODEL.replace("this one", "those with colours")
MOST_NOTES = 20
"""Lines on the images of a folder."""


@dataclass(frozen=True, kw_only=True)
class Inpaint(editing.Inpaint, WatchedOptions):
    """Repaint a part of an image: the white of a mask, a box, a polygon, or what is transparent. Every pixel
    outside it stays exactly as it is.

    Example:
        d3pm-image inpaint fashion-mnist shoe.png --box 8,8,12,12 --variants 6 --out results.png
    """


@dataclass(frozen=True, kw_only=True)
class Outpaint(editing.Outpaint, WatchedOptions):
    """Continue an image beyond its borders. Every pixel of the image stays exactly as it is.

    Example:
        d3pm-image outpaint eurosat field.png --right 32 --out wider.png
    """


@dataclass(frozen=True, kw_only=True)
class Edit(editing.Edit, WatchedOptions):
    """Repaint a part of an image as a class of your choice. Every pixel outside that part stays exactly as
    it is.

    Example:
        d3pm-image edit fashion-mnist shirt.png --box 0,12,28,16 --label Dress
    """


@dataclass(frozen=True, kw_only=True)
class Vary(editing.Vary, WatchedOptions):
    """Variations of an image, or of the part that a mask, box or polygon marks: its codes are corrupted to a
    noise level and denoised from there.

    Example:
        d3pm-image vary fashion-mnist shoe.png --strength 0.5 --variants 6
    """


@dataclass(frozen=True, kw_only=True)
class Tile(editing.Tile, WatchedOptions):
    """Make an image seamless: what lies around its border is repainted so that it fits when the image
    repeats. Every other pixel stays exactly as it is.

    Example:
        d3pm-image tile eurosat field.png --out seamless.png --preview nine.png
    """


Options = Inpaint | Outpaint | Edit | Vary | Tile
EDITS: dict[str, tuple[type[Options], str]] = {
    "inpaint": (Inpaint, "inpainted"),
    "outpaint": (Outpaint, "outpainted"),
    "edit": (Edit, "edited"),
    "vary": (Vary, "varied"),
    "tile": (Tile, "tiled"),
}
"""Options of each command, and the ending of the default result's name."""


def run(command: str, args: Options) -> None:
    """Read, check as much as possible before a model is loaded, repaint, write and print the path.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..editing.image_files.files import check_outputs, open_image_file, result_path
    from ..editing.results import coloured, result_files
    from ..pipeline import load_pipeline
    from ..recipes.edited_files import Given

    if Path(args.image).expanduser().is_dir():
        run_folder(command, args)
        return
    check(not args.resume, "resume", True, "is for a folder of images only; leave it out")
    if left_to_the_first(command):
        return
    image = open_image_file(args.image)
    out = Path(args.out) if args.out else result_path(image, EDITS[command][1])
    outputs = [out, *result_files(out, args.variants)]
    preview = [Path(args.preview)] if getattr(args, "preview", "") else []
    check_outputs([*outputs, *preview], args.inputs())
    hint = "would overwrite out"
    check(set(preview).isdisjoint(outputs), "preview", getattr(args, "preview", ""), hint)
    recorder = args.recorder(outputs, args.inputs())
    say(command, image.notes)
    given = Given(image, *prepared(args, image.image, getattr(args, "mask", "")))
    pipe = load_pipeline(args, args.model)
    if pipe.tokenizer.channels < 3 and coloured(image.image):
        say(command, [editing.GREY_MODEL])
    (results,) = drawing(args, pipe, recorder)([given], args.first)
    finish(command, args, given, pipe, results, out, recorder)


def run_folder(command: str, args: Options) -> None:
    """Edit every image of a folder; processes share the work."""
    from ..editing.folders import check_free, items_of
    from ..editing.image_files.files import open_image_file
    from ..editing.results import coloured
    from ..pipeline import load_pipeline
    from ..provenance.writing import listed
    from ..recipes.edited_files import FolderRequest, Given, edit_files

    hint = "cannot be combined with overwrite; leave one of them out"
    check(not (args.resume and args.overwrite), "resume", True, hint)
    check(
        not args.trajectory,
        "trajectory",
        args.trajectory,
        "shows the decode of one image, not of a folder; leave it out",
    )
    preview = getattr(args, "preview", "")
    check(not preview, "preview", preview, "shows one result, not those of a folder; leave it out")
    items = items_of(args.image, getattr(args, "mask", ""), args.out, EDITS[command][1], args.variants)
    if not (args.overwrite or args.resume):
        check_free(items, args.variants)
    request = FolderRequest(items, args.variants, args.first, args.batch_size, args.overwrite, args.resume)
    pipe = load_pipeline(args, args.model)
    began, record = time.perf_counter(), recording(command, args, pipe)

    def read(item: Any) -> Given:
        image = open_image_file(item.image)
        if pipe.tokenizer.channels < 3 and coloured(image.image):
            image = dataclasses.replace(image, notes=(*image.notes, GREY_ALL))
        return Given(image, *prepared(args, image.image, item.mask))

    notes = edit_files(request, read, record, drawing(args, pipe))
    if request.rank:
        return
    say(command, notes[:MOST_NOTES])
    say(command, [f"{len(notes) - MOST_NOTES} more notes"] if len(notes) > MOST_NOTES else [])
    plural, on = "s" * (len(items) > 1), f" on {request.processes} processes" * (request.processes > 1)
    where = listed(items[0].out.parent, [item.out for item in items])
    print(f"{command}: {len(items)} image{plural} in {time.perf_counter() - began:.1f} s{on}: {where}")


def drawing(args: Options, pipe: Any, recorder: Any = None) -> Callable[[Sequence[Any], int], Sequence[Any]]:
    """The function that draws the results of images, numbered from a first number. Raises ConfigError for a
    label as :func:`label_of`."""
    from ..recipes.edited_files import paint

    how: dict[str, Any] = {name: getattr(args, name) for name in HOW} | {
        "callback": recorder,
        **args.changes(),
    }
    if isinstance(args, Outpaint):
        how["continued"] = True
    else:
        how |= {"seam": args.painted(), "continued": True} if isinstance(args, Tile) else args.painted()
    label = label_of(args, pipe.class_names)
    return lambda given, first: paint(pipe, given, label, first, **how)


def prepared(args: Options, image: Any, mask: str) -> tuple[Any, Any]:
    """What is repainted: the image, or the larger one, and which of its pixels, (h, w) bool; None for all.

    Raises:
        ConfigError: a region that cannot be read, or none, or no class, where one is needed.
    """
    from ..editing.inputs import read_region
    from ..editing.outpaint import extend
    from ..editing.seamless import cross

    if isinstance(args, Outpaint):
        return extend(image, **args.painted())
    if isinstance(args, Tile):
        return image, cross((image.height, image.width), **args.painted())
    hidden = read_region(image, mask, args.box, args.polygon, needed=not isinstance(args, Vary))
    if isinstance(args, Edit):
        check(bool(args.label.strip()), "label", args.label, "name one class, or give its number")
    return image, hidden


def label_of(args: Options, class_names: Sequence[str]) -> int | None:
    """The class to paint; None for none. Raises ConfigError for an unknown one, more than one, or none where
    one is needed."""
    field = "label" if isinstance(args, Edit) else "labels"
    (label,) = read_classes(getattr(args, field), class_names, field)
    missing = label is None and isinstance(args, Edit)
    check(not missing, field, getattr(args, field), "name the class to paint")
    return label


def recording(command: str, args: Options, pipe: Any) -> Callable[[Any, int], dict[str, Any]]:
    """The metadata of an image's results, numbered from ``first``."""
    from ..provenance import edit_record, made_by

    settings = pipe.request(**args.changes()).values()
    left_out = {"image", "mask", "out", "variants", "resume", "preview"}
    left_out |= {f.name for f in dataclasses.fields(WatchedOptions)}
    own = [f.name for f in dataclasses.fields(args) if f.name not in left_out]
    options = {name: getattr(args, name) for name in (*own, "seed", "batch_size")}
    options["precision"] = pipe.precision
    made = made_by(args.model, pipe.tokenizer, pipe.denoiser)

    def record(given: Any, first: int) -> dict[str, Any]:
        hidden = given.hidden if getattr(args, "mask", "") else None
        return edit_record(command, options | {"first": first}, settings, made, given.source.path, hidden)

    return record


def finish(
    command: str, args: Options, given: Any, pipe: Any, results: Sequence[Any], out: Path, recorder: Any
) -> None:
    """Write the results of one image and say where they are."""
    from ..editing.results import write_results

    hidden, several = given.hidden, len(results) > 1
    metadata = recording(command, args, pipe)(given, args.first) | (
        {"variants": len(results)} if several else {}
    )
    shown = given.image, hidden
    paths, note = write_results(results, out, given.source, metadata, shown, args.first, args.overwrite)
    say(command, [note] if note else [])
    share = "" if hidden is None else f" {hidden.mean():.0%} of the image,"
    also = f" and {printable(paths[1].name, 0)} …" if several else ""
    print(f"{command}:{share} {len(results)} result{'s' if several else ''}: {printable(paths[0], 0)}{also}")
    if isinstance(args, Tile):
        show_seam(args, given.image, results[0])
    args.show(recorder, pipe, f"{command} · result 1 · {metadata['sampler']} · seed {args.seed}", metadata)


def show_seam(args: Tile, before: Any, after: Any) -> None:
    """Say how visible the border is, and write the image of the repeated result where one is wanted."""
    from ..editing.rolling import repeated
    from ..imaging import plain, save_image, to_tensor
    from ..metrics.seam import border_seam
    from ..outputs import new_files

    was, now = (border_seam(to_tensor(plain(one, 3))[None], args.axis) for one in (before, after))
    print(f"jump across the border, as a multiple of the mean jump inside: {was:.2f} before, {now:.2f} now")
    if args.preview:
        with new_files(Path(args.preview), args.overwrite) as files:
            save_image(repeated(after, args.axis), files.draft)
        print(f"preview: {printable(files.path, 0)}")


def main(command: str, arguments: list[str]) -> None:
    """Read the options of one of the commands and run it. Raises ConfigError for wrong input."""
    kind = EDITS[command][0]
    names = [name for name in TEXTS if name in kind.__dataclass_fields__]
    run(command, parse(command, kind, arguments, {name: TEXTS[name] for name in names}, optional=("mask",)))


inpaint, outpaint = partial(main, "inpaint"), partial(main, "outpaint")
edit, vary, tile = partial(main, "edit"), partial(main, "vary"), partial(main, "tile")
