"""``d3pm-image shards SOURCE OUT``: images → tar shards in the webdataset layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..config import check
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Pack a folder of images, or a set by name, into tar shards that --data.source shards reads: a few large
    files in place of one file per image. Files are packed as they are. The same command continues after an
    interruption.

    Args:
        source: Folder of images (subfolders are classes), or a set such as digits or eurosat.
        out: Folder for the shards, classnames.txt and packing.json.
        shard_images: Images per shard.
        held_out: Pack the held-out part of a set that has one (such as fashion_mnist) instead of its training
            part.

    Example:
        d3pm-image shards photos shards/photos
    """

    source: str
    out: str
    shard_images: int = 10_000
    held_out: bool = False

    def __post_init__(self) -> None:
        hint = "give 1 to 10,000,000 images per shard"
        check(1 <= self.shard_images <= 10_000_000, "shard_images", self.shard_images, hint)


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image shards`` and run it. Raises ConfigError for wrong input."""
    run(
        parse(
            "shards",
            Shards,
            arguments,
            {"source": "Folder of images, or the name of a set.", "out": "Folder for the shards."},
        )
    )


def run(args: Shards) -> None:
    """Pack and say what to do next.

    Raises:
        ConfigError: no such images, or an output folder with other content.
    """
    from ..data.packing import pack
    from ..data.shards import find_shards
    from ..data.sources import whole_source

    source = whole_source(args.source, args.held_out)
    out = Path(args.out).expanduser()
    done = pack(source, out, args.shard_images)
    size = sum(path.stat().st_size for path in find_shards(str(out)))
    also = f", {done.kept} of them there already" if done.kept else ""
    lost = f"; {done.left_out} images could not be read" if done.left_out else ""
    print(
        f"{len(source)} images, {len(source.class_names)} classes: {done.shards} shards of"
        f" {size / 2**20:,.1f} MB in all{also}{lost}"
    )
    print(
        f"next: d3pm-image train-tokenizer --data.source shards --data.root {printable(out, 0)}"
        " --data.image_size 64 --data.channels 3"
    )
