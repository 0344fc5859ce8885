"""Unused files below a root: counted by ending for a line of text, and listed in full for a file."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..printable import printable
from ..storage import whole_file

FORMATS, BROKEN, STRAY, OTHER, HIDDEN, FOLDERS, LINKS = (
    "files of image formats that are not read", "image files that cannot be decoded",
    "images beside the class folders",
    "other files", "hidden files", "folders that are not looked into", "links that lead nowhere or back",
)  # fmt: skip
"""Groups, in the order in which they are reported."""
GROUPS = (FORMATS, BROKEN, STRAY, OTHER, HIDDEN, FOLDERS, LINKS)
ENDINGS_SHOWN = 8
HEIF = (".heic", ".heif", ".hif")
RAW = (
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos",
    ".mrw", ".nef", ".nrw",
    ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
)  # fmt: skip
IMAGE_ENDINGS = frozenset(
    (
        *HEIF, *RAW, ".ai", ".apng", ".avif", ".avifs", ".bmp", ".dds", ".eps", ".exr", ".gif", ".hdr",
        ".ico", ".jfif", ".jls", ".jp2",
        ".jpe", ".jpeg", ".jpg", ".jxl", ".jxr", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ps", ".psb",
        ".psd", ".qoi", ".svg", ".svgz",
        ".tga", ".tif", ".tiff", ".wdp", ".webp", ".wmf", ".xcf",
    )
)  # fmt: skip
"""Endings of images, whether they can be read or not."""
HELP = {
    HEIF: "pip install pillow-heif reads HEIC",
    RAW: "convert raw images first",
    (".svg", ".svgz"): "draw SVG to PNG first",
    (".jxl",): "convert JPEG XL to PNG first, such as by djxl",
}


def help_with(endings: Iterable[str]) -> list[str]:
    """What makes files with these endings readable."""
    return [text for kinds, text in HELP.items() if not set(kinds).isdisjoint(endings)]


@dataclass(frozen=True)
class Unused:
    """Unused files.

    Args:
        counts: (group, ending or name) → number.
        lines: Path and reason of each, for the file.
        more: A file with further lines (of shards, whose lines are not held in memory).
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    lines: tuple[str, ...] = ()
    more: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.counts)

    def __getitem__(self, group: str) -> int:
        """How many there are of a group."""
        return sum(number for (one, _), number in self.counts.items() if one == group)

    def plus(self, items: Iterable[tuple[str, str, str]]) -> Unused:
        """With further (path, group, ending or name)."""
        counts, lines = Counter(self.counts), list(self.lines)
        for path, group, kind in items:
            counts[group, kind] += 1
            lines.append(f"{printable(path, 0)}\t{group}")
        return Unused(counts, tuple(lines), self.more)

    def names(self, group: str) -> list[str]:
        """Paths of the group's items that are held in memory."""
        return [line.partition("\t")[0] for line in self.lines if line.endswith(f"\t{group}")]

    def part(self, group: str) -> str:
        """One group in words: how many, and how many of each ending."""
        kinds = Counter({kind: number for (one, kind), number in self.counts.items() if one == group})
        total = sum(kinds.values())
        named = (FOLDERS, LINKS)
        shown = [
            printable(k, 40) if group in named else f"{n} {printable(k, 20)}"
            for k, n in kinds.most_common(ENDINGS_SHOWN)
        ]
        shown += ["…"] if len(kinds) > ENDINGS_SHOWN else []
        helps = help_with(kinds) if group == FORMATS else []
        words = group if total != 1 else singular(group)
        return f"{total} {words} ({'; '.join([', '.join(shown), *helps])})"

    def summary(self, groups: Iterable[str] = GROUPS) -> str:
        """All groups in one line; empty where there is nothing."""
        return ", ".join(self.part(group) for group in groups if self[group])


def write_all(several: Iterable[Unused], path: Path) -> None:
    """The full list, one path and its reason per line; an older list goes where nothing is unused."""
    several = [one for one in several if one]
    if not several:
        path.unlink(missing_ok=True)
        return
    with whole_file(path) as part, open(part, "wb") as file:
        for one in several:
            file.writelines(f"{line}\n".encode() for line in one.lines)
            if one.more is not None and one.more.is_file():
                with open(one.more, "rb") as more:
                    shutil.copyfileobj(more, file)


def singular(group: str) -> str:
    """The words of a group for a single item."""
    first, _, rest = group.partition(" ")
    words = {"files": "file", "images": "image", "folders": "folder", "links": "link"}
    if first not in words:  # image files, other files, hidden files
        return group.replace("files", "file", 1)
    return f"{words[first]} {rest}".replace("that are not looked", "that is not looked").replace(
        "that lead", "that leads"
    )


def ending_of(name: str) -> str:
    """Ending in small letters, with its point; ``no ending`` without one."""
    _, point, ending = name.rpartition(".")
    return f".{ending.lower()}" if point and ending else "no ending"


def group_of(name: str) -> str:
    """The group of a file that is not tried as an image."""
    if name.startswith("."):
        return HIDDEN
    return FORMATS if ending_of(name) in IMAGE_ENDINGS else OTHER
