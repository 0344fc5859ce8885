"""The way of a picture through an editing command: read and check, draw, write and say where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import need
from ..labels import read_labels
from ..outputs import added
from ..printable import printable
from .editing import EditOptions, RegionOptions
from .options import WatchedOptions, say
from .parsing import parse

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..editing.image_files.files import PictureFile
    from ..pipeline import Pipeline

TEXTS = {
    "model": "Model folder, or the run that trained it.",
    "image": "Picture of any size and mode.",
    "mask": "Picture of the same size: white is repainted; or the word alpha: where the picture itself is transparent.",
}
WIDEST = 512
"""Pixels of a picture's longer side on a sheet."""


@dataclass(frozen=True)
class Job:
    """An edit whose files are read and whose outputs are known to be possible.

    Args:
        command: Its name.
        args: Its options.
        picture: What is edited.
        out: Result, or the sheet of several.
        watch: Recorder of the decode, or None.
    """

    command: str
    args: EditOptions
    picture: PictureFile
    out: Path
    watch: Any

    @property
    def image(self) -> Image.Image:
        """The picture that is edited, upright."""
        return self.picture.image

    def pipeline(self) -> Pipeline:
        """The model. Raises ConfigError where it is not there or damaged."""
        pipe = self.args.pipeline(self.args.model)
        if pipe.tokenizer.channels == 1 and coloured(self.image):
            say(self.command, ["the model knows grey pictures only: what it paints into this one has no colour"])
        return pipe

    def drawing(self) -> dict[str, Any]:
        """Arguments that every editing function of a pipeline takes."""
        args = self.args
        where = {name: getattr(args, name) for name in ("variants", "first", "ring", "feather", "window", "seed", "batch_size")}
        return {**where, "watch": self.watch, **args.changes()}

    def finish(self, pipe: Pipeline, results: Sequence[Image.Image], hidden: np.ndarray | None, before: Image.Image | None = None) -> None:
        """Write results and say where they are.

        Args:
            hidden: (h, w) bool of the results' size, what was repainted; None for all of the picture.
            before: What a sheet shows as the original; default the picture.
        """
        from ..editing.image_files.files import write_picture
        from ..imaging import save_image
        from ..outputs import new_files

        facts, several = self.facts(pipe, hidden), len(results) > 1
        with new_files(
            self.out, self.args.overwrite, lambda out: [out, *result_files(out, self.args.variants)] if several else [out]
        ) as files:
            drafts = files.drafts[several:]
            numbers = [{"variant": self.args.first + number} if several else {} for number in range(len(results))]
            facts |= {"variants": len(results)} if several else {}
            notes = [write_picture(one, path, self.picture, facts | own) for one, path, own in zip(results, drafts, numbers, strict=True)]
            if several:
                save_image(variants_sheet(before or self.image, hidden, results), files.draft, facts)
        say(self.command, [note for note in notes[:1] if note])
        share = "" if hidden is None else f" {hidden.mean():.0%} of the picture,"
        also = f" and {printable(files.paths[1].name, 0)} …" if several else ""
        print(f"{self.command}:{share} {len(results)} result{'s' if several else ''}: {printable(files.path, 0)}{also}")
        title = f"{self.command} · result 1 · {facts['sampler']} · seed {self.args.seed}"
        self.args.show(self.watch, pipe, title, facts)

    def facts(self, pipe: Pipeline, hidden: np.ndarray | None) -> dict[str, Any]:
        """What a PNG carries as text: how it was made, without paths of pictures; a mask that came from a picture as it is."""
        from ..provenance import made_by, mask_text, picture_record

        left_out = {"image", "mask", "out", "variants"} | {f.name for f in dataclasses.fields(WatchedOptions)}
        own = {f.name: getattr(self.args, f.name) for f in dataclasses.fields(self.args) if f.name not in left_out}
        run = {name: getattr(self.args, name) for name in ("seed", "precision", "batch_size")}
        went_in = picture_record(self.picture.path)
        if getattr(self.args, "mask", "") and hidden is not None:
            went_in["mask"] = mask_text(hidden)
        model = made_by(self.args.model, pipe.tokenizer, pipe.denoiser)
        return {"command": self.command, **own, **run, **asdict(pipe.settings(**self.args.changes())), **model, **went_in}


def run_edit(
    command: str, kind: type[EditOptions], arguments: list[str], work: Callable[[Any, Job], None], positionals: Sequence[str], word: str
) -> None:
    """Parse, read and check, then work.

    Args:
        kind: Dataclass of the options.
        positionals: Their names, in order; the mask may be left out.
        word: Ending of the default result's name, such as ``inpainted``.
    """
    args = parse(command, kind, arguments, {name: TEXTS[name] for name in positionals}, optional=("mask",))
    work(args, open_job(command, args, word))


def open_job(command: str, args: EditOptions, word: str) -> Job:
    """Read the picture and check what can be checked before a model is loaded.

    Raises:
        ConfigError: wrong input.
    """
    from ..editing.image_files.files import check_outputs, read_picture, result_path

    picture = read_picture(args.image)
    out = Path(args.out) if args.out else result_path(picture, word)
    outputs = [out, *result_files(out, args.variants)]
    check_outputs(outputs, args.inputs())
    watch = args.recorder(outputs, args.inputs())
    say(command, picture.notes)
    return Job(command, args, picture, out, watch)


def coloured(image: Image.Image) -> bool:
    """Whether a picture has more than shades of grey (JPEG leaves a little)."""
    import numpy as np

    from ..imaging import plain

    small = plain(image, 3)
    small.thumbnail((256, 256))
    return int(np.ptp(np.asarray(small).astype(int), axis=2).max()) > 8


def region(args: RegionOptions, image: Image.Image, needed: bool = True) -> np.ndarray | None:
    """The pixels of a picture to repaint, (h, w) bool; None where no region was given.

    Raises:
        ConfigError: a mask of another size or that marks nothing, an area that cannot be read or lies outside the picture, or
            no region where one is needed.
    """
    from ..editing.image_files.files import read_picture
    from ..editing.masks import Box, Polygon, as_mask, combine

    given: list[Any] = [Box.parse(args.box)] if args.box else []
    given += [Polygon.parse(args.polygon)] if args.polygon else []
    if args.mask:
        given.append(args.mask if args.mask == "alpha" else read_picture(args.mask, "mask").image)
    need(bool(given) or not needed, "mask", "", "give a mask picture, --box, --polygon, or the word alpha")
    if not given:
        return None
    hidden = combine(as_mask(one, image) for one in given)
    need(bool(hidden.any()), "mask", args.mask, "marks no pixel; white (alpha: transparent) is what is repainted")
    return hidden


def result_files(out: Path, variants: int) -> list[Path]:
    """A file for each result: ``out`` itself, or NAME-1, NAME-2 … beside the sheet of several."""
    if variants == 1:
        return [out]
    return [added(out, f"-{number}") for number in range(1, variants + 1)]


def label_of(text: str, class_names: Sequence[str], field: str = "labels") -> int | None:
    """One class from the command line; None for none.

    Raises:
        ConfigError: an unknown class, or more than one.
    """
    ids = read_labels(text, class_names, field) or [len(class_names)]
    need(len(ids) == 1, field, text, "give one class, by name or number, or none for no class")
    return None if ids[0] == len(class_names) else ids[0]


def variants_sheet(image: Image.Image, hidden: np.ndarray | None, results: Sequence[Image.Image]) -> Image.Image:
    """One picture of the original, what was hidden, and all results."""
    from ..imaging import enlarge, grid_image, plain

    shown = {"original": plain(image, 3)}
    if hidden is not None:
        shown["masked"] = blanked(shown["original"], hidden)
    shown |= {f"result {number}": plain(result, 3) for number, result in enumerate(results, 1)}
    tiles = []
    for tile in shown.values():
        if max(tile.size) > WIDEST:
            tile.thumbnail((WIDEST, WIDEST))
        tiles.append(enlarge(tile, 96))
    return grid_image(tiles, min(len(tiles), 8), list(shown))


def blanked(image: Image.Image, hidden: np.ndarray) -> Image.Image:
    """An RGB picture with hidden pixels in grey."""
    from PIL import Image

    result = image.copy()
    result.paste((128, 128, 128), mask=Image.fromarray(hidden))
    return result
