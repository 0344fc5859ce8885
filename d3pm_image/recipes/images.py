"""The images of a command: opened, described in the first line of output, with one level of white for the
whole set."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..config import DataConfig
from ..data.spread import spread_over

if TYPE_CHECKING:
    from ..data.image_source import ImageSource
    from ..data.objects import GivenImages

OPENED = 16
"""Images that are opened to see whether they use alpha."""
UNUSED = "unused_files.txt"
"""File in the run's folder that lists files which are not used."""


def open_images(
    data: DataConfig, out: str = "", given: GivenImages | None = None
) -> tuple[DataConfig, ImageSource, ImageSource]:
    """The settings with the level of white, the training images and the held-out ones; prints what is read.

    Args:
        out: The run's folder, for the list of unused files.
        given: The images, if they are in memory.

    Raises:
        ConfigError: wrong input.
    """
    from ..data.label_files import parted
    from ..data.levels import settled
    from ..data.sources import open_source
    from ..local_notes import note_folder

    labels = parted(data.labels)[0] if isinstance(data.labels, str) else None
    for place in (data.root, data.val_root, data.name, "" if labels is None else str(labels)):
        note_folder(place)
    data = data.resolved()
    if data.source == "huggingface" and given is None:
        from ..data.huggingface import hugging_face

        given = hugging_face(data)  # once, not once per part: all images are read for their contents
    source, held_out = (open_source(data, part, given) for part in (False, True))
    data = settled(data, source.load, source.headers.deep)
    announce(data, source, held_out, out)
    return data, source, held_out


def hint_at_alpha(data: DataConfig, source: ImageSource) -> None:
    """Say, on the first process, where training lays the transparent parts of most images on white."""
    from ..data.facing import suited_channels, uses_alpha
    from ..imaging import ALPHA_MODES

    may_have = sum(number for mode, number in source.headers.modes.items() if mode in (*ALPHA_MODES, "P"))
    if int(os.environ.get("RANK", "0")) or data.channels not in (1, 3) or not may_have:
        return
    images = (source.attempt(source.load, i) for i in spread_over(len(source), OPENED).tolist())
    clear = [uses_alpha(image) for image in images if not isinstance(image, Exception)]
    suited = suited_channels([data.channels == 1], clear) if clear else data.channels
    if suited != data.channels:
        text = "most images have transparent parts, which are laid on white"
        print(f"note: {text}; --data.channels {suited} keeps them", file=sys.stderr, flush=True)


def announce(
    data: DataConfig,
    source: ImageSource,
    held_out: ImageSource | None = None,
    out: str = "",
    file: TextIO | None = None,
) -> None:
    """Print what is read and what is not, on the first process.

    Args:
        file: Default standard output.
    """
    from ..data.description import describe, not_used

    if int(os.environ.get("RANK", "0")):
        return
    file = file or sys.stdout
    print(describe(data, source, held_out), file=file, flush=True)
    if missing := not_used(*((source, held_out) if held_out is not None and data.val_root else (source,))):
        print(missing + (f"; the list is in {Path(out) / UNUSED}" if out else ""), file=file, flush=True)


def write_unused(folder: Path, *sources: ImageSource) -> None:
    """Write the list of unused files into a run's folder; no file if all are used."""
    from ..data.unused import write_all

    write_all([source.unused for source in sources], folder / UNUSED)
