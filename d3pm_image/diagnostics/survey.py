"""Survey of a folder of images, or of shards: names, classes, sizes, colour, and whether mirror images differ
(:mod:`~d3pm_image.data.facing`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..cache_folder import cache_root
from ..config import check
from ..config.data import implied_source
from ..data.colour import is_foreign
from ..data.facing import is_grey, thumbnail, uses_alpha
from ..data.failures import is_decoder_error
from ..data.image_source import Files, text_of
from ..data.levels import LOOKED_AT, finite_levels
from ..data.listing import list_images
from ..data.packed import packed_colours
from ..data.shards import open_shards
from ..data.sources import stray
from ..data.spread import spread_over
from ..data.unused import STRAY, Unused
from ..imaging import is_deep, plain
from ..printable import printable

MANY_COLOURS = 4096


@dataclass(frozen=True)
class Subject:
    """The subject of a survey: a folder of images, or shards.

    Args:
        source: folder or shards, as ``data.source`` has it.
        names: Of all images.
        classes: Class of every image, or None.
        class_names: Those that shards name, whether images have them or not.
        load, read: Image and bytes of the i-th.
        unused: Other files there.
    """

    source: str
    names: Sequence[str]
    classes: list[str] | None
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    read: Callable[[int], bytes]
    unused: Unused


def open_subject(root: str) -> Subject:
    """The images of a folder, or of shards (a folder, a pattern or a file), as training takes them.

    Raises:
        ConfigError: no images at all, or damaged shards.
    """
    kind = implied_source(root)
    if kind == "shards":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels that are missing are a finding
            found = open_shards(root, cache_root())
        named = None if found.labels is None else [found.class_names[label] for label in found.labels]
        return Subject(kind, found.names, named, found.class_names, found.load, found.load.read, found.unused)
    place = Path(root)
    listing = list_images(place)
    beside = stray(listing.files)
    files = [path for path in listing.files if path not in set(beside)] if beside else listing.files
    also = f" ({listing.unused.summary()})" if listing.unused else ""
    hint = f"holds neither a run nor images{also}; name a run's folder, a folder of images or shards"
    check(bool(files), "folder", root, hint)
    unused = listing.unused.plus((str(path), STRAY, path.suffix.lower()) for path in beside)
    named = [text_of(path.parts[0]) for path in files] if all(len(path.parts) > 1 for path in files) else None
    load = Files([place / path for path in files])
    return Subject(
        kind, [text_of(path) for path in files], named, (), load, lambda i: load.paths[i].read_bytes(), unused
    )


@dataclass
class Survey:
    """Properties of the images that were opened.

    Args:
        opened: Numbers of the images that were looked at.
        broken: Those that cannot be decoded. refused: Those that the system does not give, with its words.
        good: Those that can be read; the lists below have one entry for each of these.
    """

    subject: Subject
    opened: list[int]
    broken: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    grey: list[bool] = field(default_factory=list)
    clear: list[bool] = field(default_factory=list)
    foreign: list[bool] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    thumbs: list[np.ndarray] = field(default_factory=list)
    levels: dict[int, np.ndarray] = field(default_factory=dict)
    """Levels of the first images of more than 8 bits, by number."""
    colours: set[int] = field(default_factory=set)
    """Different colours with their alpha, each as one number of 32 bits; no more are counted once there are
    over MANY_COLOURS."""

    def named(self, numbers: Sequence[int]) -> str:
        """The first three names."""
        return ", ".join(printable(self.subject.names[i]) for i in numbers[:3]) + (
            " …" if len(numbers) > 3 else ""
        )


def survey(subject: Subject, limit: int) -> Survey:
    """Read up to ``limit`` of the images (0: all), spread over them."""
    count = len(subject.names)
    chosen = range(count) if limit == 0 or limit >= count else spread_over(count, limit).tolist()
    seen = Survey(subject, list(chosen))
    for number in chosen:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's remarks on odd files that it can read
                image = subject.load(number)
                colour = plain(image, 3)
            look(seen, number, image, colour)
        except Exception as error:
            if is_decoder_error(error):  # whatever a broken file raises, it cannot be trained on
                seen.broken.append(number)
            elif isinstance(error, OSError):
                seen.refused.append((number, error.strerror or str(error)))
            else:
                raise
    return seen


def look(seen: Survey, number: int, image: Image.Image, colour: Image.Image) -> None:
    """Record the properties of an image."""
    small = thumbnail(colour)
    digest = hashlib.sha256(seen.subject.read(number)).hexdigest()
    seen.good.append(number)
    seen.sizes.append(image.size)
    seen.modes.append(image.mode)
    seen.grey.append(is_grey(image.mode, small))
    seen.clear.append(uses_alpha(image))
    seen.foreign.append(is_foreign(image))
    seen.hashes.append(digest)
    seen.thumbs.append(small.mean(-1))
    if len(seen.colours) <= MANY_COLOURS:
        seen.colours.update(np.unique(packed_colours(np.asarray(plain(image, 4)))).tolist())
    if is_deep(image.mode) and len(seen.levels) < LOOKED_AT:
        seen.levels[number] = finite_levels(image)
