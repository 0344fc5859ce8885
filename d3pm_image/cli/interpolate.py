"""``d3pm-image interpolate MODEL A B``: the way from one picture to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import need
from ..labels import read_labels
from ..outputs import added, new_files
from ..printable import printable
from .editing import check_strength
from .options import WatchedOptions, say
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Interpolate(WatchedOptions):
    """Pictures from one to another, at the model's size, as a strip or an animation.

    Args:
        model: Model folder, or the run that trained it.
        a: First picture, of any size and mode.
        b: Last picture.
        labels: Class of all frames, by name or number, or those of the first and of the last picture, separated by a comma (a frame has that of the nearer one); none for no class.
        frames: Pictures, both ends included.
        strength: Noise level that the codes are corrupted to and denoised from: 0 mixes the codes of both pictures as they are.
        mix: vectors fades one picture into the other, cells takes cell after cell from the second one.
        frame_ms: Milliseconds a frame of an animation.
        out: A strip, or with an ending of .gif or .webp an animation. Default: A-interpolated.png beside the first picture.
    """

    model: str
    a: str
    b: str
    labels: str = ""
    frames: int = 8
    strength: float = 0.5
    mix: Literal["vectors", "cells"] = "vectors"
    frame_ms: int = 150
    out: str = ""

    def __post_init__(self):
        super().__post_init__()
        need(2 <= self.frames <= 1000, "frames", self.frames, "ask for 2 to 1000 frames, both ends included")
        check_strength(self.strength)
        need(20 <= self.frame_ms <= 60_000, "frame_ms", self.frame_ms, "give 20 to 60000 milliseconds a frame")

    def label_pair(self, class_names: Sequence[str]) -> list[int | None]:
        """One class or two. Raises ConfigError for others."""
        ids = read_labels(self.labels, class_names) or [len(class_names)]
        need(len(ids) <= 2, "labels", self.labels, "give one class, or two separated by a comma, or none for no class")
        return [None if number == len(class_names) else number for number in ids]


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image interpolate`` and run it. Raises ConfigError for wrong input."""
    texts = {"model": "Model folder, or the run that trained it.", "a": "First picture.", "b": "Last picture."}
    run(parse("interpolate", Interpolate, arguments, texts))


def run(args: Interpolate) -> None:
    """Interpolate and write. Raises ConfigError for wrong input; nothing is written then."""
    from ..editing.image_files.files import check_outputs, read_picture
    from ..imaging import to_pil
    from ..provenance import made_by, picture_record

    files = [read_picture(args.a, "a"), read_picture(args.b, "b")]
    out = Path(args.out) if args.out else added(files[0].path, "-interpolated", ".png")
    inputs = [file.path for file in files]
    check_outputs([out], inputs)
    watch = args.recorder([out], inputs)
    say("interpolate", [note for file in files for note in file.notes])
    pipe = args.pipeline(args.model)
    labels = args.label_pair(pipe.class_names)
    a, b = (file.image for file in files)
    how: dict[str, Any] = {"seed": args.seed, "batch_size": args.batch_size, "watch": watch, **args.changes()}
    frames = pipe.interpolate(a, b, args.frames, args.strength, labels, args.mix, **how)
    own = {name: getattr(args, name) for name in ("labels", "frames", "strength", "mix", "seed", "precision", "batch_size")}
    own |= picture_record(files[0].path, "a") | picture_record(files[1].path, "b") | made_by(args.model, pipe.tokenizer, pipe.denoiser)
    facts = {"command": "interpolate", **own, **asdict(pipe.settings(**args.changes()))}
    with new_files(out, args.overwrite) as new:
        write(args, new.draft, [*frames], to_pil(pipe.tensors([a, b])), facts)
    print(f"interpolate: {args.frames} frames: {printable(new.path, 0)}")
    args.show(watch, pipe, f"interpolate · frame 1 · {facts['sampler']} · seed {args.seed}", facts)


def write(args: Interpolate, out: Path, frames: list, ends: list, facts: dict[str, Any]) -> None:
    """The animation of the frames, or a strip of them between the two pictures at the model's size."""
    from ..imaging import enlarge, grid_image, save_animation, save_image

    if out.suffix.lower() in (".gif", ".webp"):
        save_animation([enlarge(frame, 256) for frame in frames], out, args.frame_ms, max(1000, args.frame_ms))
        return
    shown = [ends[0], *frames, ends[1]]
    captions = ["a", *map(str, range(1, len(frames) + 1)), "b"]
    save_image(grid_image([enlarge(i, 96) for i in shown], min(len(shown), 12), captions), out, facts)
