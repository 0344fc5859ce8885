"""Make the folder that ``configs/emoji/diffusion.yaml`` is trained on from a folder of emoji,
``GROUP/NAME.STYLE.webp``: the images, linked or copied, and ``labels.csv`` with two label sets, the group of
Unicode and the style of drawing.

Two of the five styles draw every person in six skin tones, which together are four in ten images of the set.
Of these, the tone without a name and one other stay, so that the other groups are seen more often.

    python -m scripts.emoji_set ~/.cache/d3pm_image/datasets/emoji_64 runs/emoji/images
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import zlib
from pathlib import Path

GROUPS = {
    "smileys_and_emotion": "smileys",
    "people_and_body": "people",
    "animals_and_nature": "animals",
    "food_and_drink": "food",
    "travel_and_places": "travel",
    "activities": "activities",
    "objects": "objects",
    "symbols": "symbols",
    "flags": "flags",
}
"""Label of each folder."""

STYLES = {
    "noto": "noto",
    "noto-v1": "noto-v1",
    "twemoji": "twemoji",
    "fluent-emoji": "fluent",
    "fluent-emoji-flat": "fluent-flat",
}
"""Label of each ending of a file's name."""

TONES = re.compile(r"(-(medium-light|medium-dark|light|medium|dark))+$")
"""Of a person's skin, at the end of a name."""


def rows(root: Path) -> list[tuple[str, str, str]]:
    """File (its path in the folder), group and style of every image, sorted by path.

    Raises:
        ValueError: no image, or a folder or an ending that is not one of the set's.
    """
    found = []
    for path in sorted(root.glob("*/*.webp")):
        style = path.stem.rpartition(".")[2]
        if path.parent.name not in GROUPS or style not in STYLES:
            raise ValueError(f"{path}: expected GROUP/NAME.STYLE.webp with groups {', '.join(GROUPS)} and "
                             f"styles {', '.join(STYLES)}")  # fmt: skip
        found.append((path.relative_to(root).as_posix(), GROUPS[path.parent.name], STYLES[style]))
    if not found:
        raise ValueError(f"{root} has no images GROUP/NAME.STYLE.webp: name the folder that has the groups")
    return found


def fewer_tones(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The same without all but one of the named skin tones of each person and style; which one stays follows
    from the name, so that all tones occur."""
    kept: dict[tuple[str, str], tuple[str, str, str]] = {}
    rest = []
    for row in found:
        name = Path(row[0]).stem.rpartition(".")[0]
        if row[1] != "people" or not TONES.search(name):
            rest.append(row)
            continue
        person = TONES.sub("", name), row[2]
        first = kept.setdefault(person, row)
        kept[person] = min(first, row, key=lambda r: zlib.crc32(r[0].encode()))
    return sorted([*rest, *kept.values()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder with a folder for each group")
    parser.add_argument("out", type=Path, help="new folder")
    args = parser.parse_args()
    root = args.root.expanduser()
    try:
        found = fewer_tones(rows(root))
    except ValueError as error:
        parser.error(str(error))
    if args.out.exists():
        parser.error(f"{args.out} is there already: name a new folder")
    for file, _, _ in found:
        target = args.out / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(root / file, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(root / file, target)
    with (args.out / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("file", "group", "style"), *found])
    print(f"{len(found)} images and labels.csv in {args.out}")


if __name__ == "__main__":
    main()
