"""How many frames or pages an image file has, counted by their headers alone and up to a limit.

Pillow counts the pages of a TIFF by loading the tags of each and looking every page up among all before it,
and the frames of a GIF likewise.
"""

from __future__ import annotations

import itertools
import struct
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from .bare import gif_blocks

MOST_FRAMES = 1000
"""Frames that are counted; a file with more has one more than that."""


def count_frames(path: Path, image: Image.Image) -> int:
    """Frames or pages of an image file that was opened, at most :data:`MOST_FRAMES` + 1."""
    if image.format not in ("TIFF", "GIF"):
        return min(int(getattr(image, "n_frames", 1)), MOST_FRAMES + 1)  # in a header
    with open(path, "rb") as file:
        return count_pages(file) if image.format == "TIFF" else count_images(file)


def count_pages(file: BinaryIO) -> int:
    """Pages of a TIFF: the links from each directory to the next."""
    head = file.read(16)
    order, big = "<" if head[:2] == b"II" else ">", 43 in (head[2], head[3])
    count_of, link_of = (
        struct.Struct(order + ("Q" if big else "H")),
        struct.Struct(order + ("Q" if big else "L")),
    )
    row = 20 if big else 12
    (place,), seen = link_of.unpack_from(head, 8 if big else 4), set[int]()
    while place and place not in seen and len(seen) <= MOST_FRAMES:
        seen.add(place)
        file.seek(place)
        try:
            (count,) = count_of.unpack(file.read(count_of.size))
            file.seek(place + count_of.size + count * row)
            (place,) = link_of.unpack(file.read(link_of.size))
        except (struct.error, OSError, OverflowError, ValueError):  # cut short, or damaged
            break
    return max(1, len(seen))


def count_images(file: BinaryIO) -> int:
    """Images of a GIF."""
    images = (kind for kind, *_ in gif_blocks(file, file.read(13)) if kind == b",")
    return max(1, sum(1 for _ in itertools.islice(images, MOST_FRAMES + 1)))
