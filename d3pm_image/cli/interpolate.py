"""``d3pm-image interpolate MODEL A B``: images between two others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import editing
from ..labels import read_classes
from ..outputs import added, new_files
from ..parser import parse
from ..printable import printable
from .options import WatchedOptions, say


@dataclass(frozen=True, kw_only=True)
class Interpolate(editing.Interpolate, WatchedOptions):
    """Interpolate between two images, at the model's size, as a strip or an animation.

    Example:
        d3pm-image interpolate fashion-mnist a.png b.png --frames 8 --out way.gif
    """


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image interpolate`` and run it. Raises ConfigError for wrong input."""
    texts = {
        "model": "Model folder, or the run that trained it.",
        "a": "First image.",
        "b": "Last image.",
    }
    run(parse("interpolate", Interpolate, arguments, texts))


def run(args: Interpolate) -> None:
    """Interpolate and write. Raises ConfigError for wrong input; nothing is written then."""
    from ..editing.image_files.files import check_outputs, open_image_file
    from ..editing.results import write_frames
    from ..imaging import to_pil
    from ..pipeline import load_pipeline
    from ..provenance import image_record, made_by

    files = [open_image_file(args.a, "a"), open_image_file(args.b, "b")]
    out = Path(args.out) if args.out else added(files[0].path, "-interpolated", ".png")
    inputs = [file.path for file in files]
    check_outputs([out], inputs)
    recorder = args.recorder([out], inputs)
    say("interpolate", [note for file in files for note in file.notes])
    pipe = load_pipeline(args, args.model)
    labels = read_classes(args.labels, pipe.class_names, most=2)
    a, b = (file.image for file in files)
    how: dict[str, Any] = {
        "seed": args.seed,
        "batch_size": args.batch_size,
        "callback": recorder,
        **args.changes(),
    }
    frames = pipe.interpolate(a, b, args.frames, args.strength, labels, args.mix, **how)
    own = {
        name: getattr(args, name) for name in ("labels", "frames", "strength", "mix", "seed", "batch_size")
    }
    own["precision"] = pipe.precision
    own |= (
        image_record(files[0].path, "a")
        | image_record(files[1].path, "b")
        | made_by(args.model, pipe.tokenizer, pipe.denoiser)
    )
    metadata = {"command": "interpolate", **own, **pipe.request(**args.changes()).values()}
    with new_files(out, args.overwrite) as new:
        write_frames(frames, to_pil(pipe.tensors([a, b])), new.draft, args.frame_ms, metadata)
    print(f"interpolate: {args.frames} frames: {printable(new.path, 0)}")
    args.show(recorder, pipe, f"interpolate · frame 1 · {metadata['sampler']} · seed {args.seed}", metadata)
