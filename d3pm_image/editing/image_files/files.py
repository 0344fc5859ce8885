"""Reading and writing image files: upright, with their metadata, without a change of pixels.

Pillow has 16 bits per pixel only for grey images: 16-bit colour (PNG, TIFF) is read as its upper 8 bits, with
a note.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...config import ConfigError, check
from ...data.unused import help_with
from ...image_io import (
    MOST_FRAMES,
    count_frames,
    image_endings,
    is_of_the_machine,
    opened,
    orientation_of,
    upright,
)
from ...imaging import is_deep, plain, profile_channels, with_opacity
from ...outputs import added, folder_to_write
from ...printable import printable
from ...storage import whole_file
from .metadata import Metadata, fewer, not_kept, read_metadata, save_arguments

ENDINGS = {
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "GIF": ".gif",
    "AVIF": ".avif",
    "JPEG2000": ".jp2",
    "TGA": ".tga",
    "PPM": ".ppm",
    "PCX": ".pcx",
}
"""Formats that results can be written in."""
CLEAR = frozenset({"PNG", "TIFF", "WEBP", "GIF", "AVIF", "JPEG2000", "TGA"})
"""Formats that hold transparency."""
DEEP = frozenset({"PNG", "TIFF", "JPEG2000", "PPM"})
"""Formats that hold more than 8 bits per level."""
NAMED = 5
"""Pieces of metadata that a note names."""


@dataclass(frozen=True)
class ImageFile:
    """An image and the file that it came from.

    Args:
        path: Of the file.
        image: Upright, loaded, in the file's own mode; of several frames or pages the first.
        kind: Format of its content, such as ``PNG``.
        metadata: Metadata that is written with a result.
        notes: Parts of the file that are not in ``image``, one line each.
    """

    path: Path
    image: Image.Image
    kind: str
    metadata: Metadata
    notes: tuple[str, ...] = ()


def open_image_file(path: str | Path, name: str = "image") -> ImageFile:
    """Read a file that will be edited.

    Raises:
        ConfigError: missing, unreadable, or of more pixels than Pillow's limit; ``name`` is the field for
            messages.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd tags in a file that can be read nevertheless
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            dropped: list[str] = []
            with opened(path, load=False) as source:
                turned = orientation_of(source) > 4  # asked before: Pillow turns a TIFF when it loads it
            with opened(path, dropped=dropped) as source:
                image = upright(source)
                kind = "JPEG" if source.format == "MPO" else str(source.format)
                metadata = read_metadata(source, image, turned)
                dropped += metadata.dropped
                return ImageFile(path, image, kind, metadata, tuple(notes_on(path, source, kind, dropped)))
    except FileNotFoundError:
        raise ConfigError(name, str(path), "no such file") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
        raise ConfigError(
            name, str(path), f"holds more than {most} million pixels; make it smaller, or cut the part out"
        ) from None
    except Exception as error:  # Pillow raises many kinds for broken files
        helps = help_with({path.suffix.lower()} - image_endings())
        hint = "; ".join([f"not a readable image ({type(error).__name__}: {error})", *helps])
        raise ConfigError(name, str(path), hint) from error


def notes_on(path: Path, opened: Image.Image, kind: str, dropped: Sequence[str] = ()) -> list[str]:
    """Notes on parts of a loaded file that its image does not show, and on ``dropped`` metadata."""
    notes = []
    frames = 1 if opened.format == "MPO" else count_frames(path, opened)
    if frames > 1:
        number = str(frames) if frames <= MOST_FRAMES else f"more than {MOST_FRAMES}"
        notes.append(f"{path.name}: the first of {number} {'pages' if kind == 'TIFF' else 'frames'} is used")
    if dropped:
        names = ", ".join(dropped[:NAMED]) + (
            f" and {len(dropped) - NAMED} more" if len(dropped) > NAMED else ""
        )
        notes.append(
            f"{path.name}: left out because damaged, too long, or impossible to write: {printable(names)}"
        )
    if opened.mode[0] != "I" and bits_a_band(path, opened, kind) > 8 and opened.mode != "F":
        notes.append(f"{path.name}: 16-bit colour is read, and written, with its upper 8 bits")
    return notes


def bits_a_band(path: Path, opened: Image.Image, kind: str) -> int:
    """Bits of one level in a PNG or TIFF; 8 of other formats."""
    if kind == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]  # IHDR, always the first chunk
    return max(opened.tag_v2.get(258, (8,))) if kind == "TIFF" else 8  # type: ignore[attr-defined]


def result_path(source: ImageFile, command: str) -> Path:
    """Where a result goes by default: NAME-COMMAND beside the image, with its ending; of formats that
    cannot be written, .png."""
    suffix = source.path.suffix if kind_of(source.path) == source.kind else ENDINGS.get(source.kind, ".png")
    return added(source.path, f"-{command}", suffix)


def kind_of(path: Path) -> str | None:
    """Format by the ending of a file name, None for unknown ones."""
    Image.init()
    kind = Image.registered_extensions().get(path.suffix.lower())
    return kind if kind in ENDINGS and kind in Image.SAVE else None


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Check a result's path before any work.

    Raises:
        ConfigError: an ending that results cannot be written with, or a file that is read as well.
    """
    read = {path.resolve() for path in inputs}
    for path in outputs:
        check(kind_of(path) is not None, "out", str(path), "use an ending such as .png, .tif, .webp or .jpg")
        hint = "would overwrite an image that is read; choose another name"
        check(path.resolve() not in read, "out", str(path), hint)
        check(not path.is_dir(), "out", str(path), "is a folder; give a file name")
        folder_to_write(path.parent)


def write_image_file(
    image: Image.Image, path: Path, source: ImageFile, settings: Mapping[str, Any] | None = None
) -> str | None:
    """Write a result in the format of ``path``, encoded like its source file; the file is complete or absent.

    Args:
        settings: How it was made; a PNG carries them as text.

    Returns:
        A line if the file does not keep every pixel, else None.

    Raises:
        ConfigError: a format that cannot hold the image.
    """
    kind = kind_of(path)
    check(kind is not None, "out", str(path), "use an ending such as .png, .tif, .webp or .jpg")
    with whole_file(path) as part:
        for candidate, metadata in (
            (c, m) for c in candidates(image, str(kind)) for m in fewer(source.metadata)
        ):
            arguments = save_arguments(metadata, str(kind), candidate.mode, image.size, settings)
            try:
                candidate.save(part, format=kind, **arguments)
                exact, lost = read_back(part, image, str(kind), source.metadata)
            except Exception as error:  # Pillow raises many kinds for what a format does not hold
                if is_of_the_machine(error):
                    raise  # the disk, not the image
                refused = error
            else:
                break
        else:
            raise ConfigError(
                "out", str(path), f"{kind} cannot hold this image ({refused}); use .png or .tif"
            )
    notes = (
        []
        if exact
        else [f"{kind} does not give back every pixel of this image as it was; {keepers(image.mode)}"]
    )
    notes += [f"{kind} does not hold {' and '.join(lost)} of the original"] if lost else []
    return f"{path.name}: {'. '.join(notes)}" if notes else None


def read_back(part: Path, image: Image.Image, kind: str, metadata: Metadata) -> tuple[bool, list[str]]:
    """Whether a file that was just written has every pixel of an image, and the metadata that it lacks.

    Raises:
        Exception: it cannot be read, by this program or others.
    """
    refused: list[str] = []
    # Pillow 12 writes TIFFs in YCbCr that it cannot read
    with opened(part, dropped=refused, formats=(kind,)) as written:
        check(not refused, "out", refused, "others could not read it")
        hint = f"cannot hold an image of {image.width}x{image.height} pixels"
        check(written.size == image.size, "out", written.size, hint)
        return same_pixels(image, written), not_kept(metadata, kind, written)


def candidates(image: Image.Image, kind: str) -> list[Image.Image]:
    """The modes that are tried for a format: the image's own, and the nearest ones."""
    keyed, clear = "transparency" in image.info, image.getbands()[-1] in ("A", "a")
    offers = []
    # some encoders would take these modes, and clip their levels or drop their transparency
    if (
        (kind in DEEP or not is_deep(image.mode))
        and (kind in CLEAR or not clear)
        and (kind in ("PNG", "GIF") or not keyed)
    ):
        levels = np.asarray(image)
        # other encoders write them in the wrong order of bytes
        if kind == "TIFF" or image.mode not in ("I;16B", "I;16N"):
            offers.append(image)
        if kind == "GIF" and image.mode == "P":  # opacity inside a palette would be written as colours
            offers = [image.copy()]
            offers[0].putpalette(bytes(image.getpalette("RGB") or b""))
        if is_deep(image.mode) and image.mode != "F" and levels.min() >= 0 and levels.max() <= 65535:
            offers.append(Image.fromarray(levels.astype(np.uint16)))
    if kind in CLEAR and (keyed or clear) and not is_deep(image.mode):
        offers.append(with_opacity(image))
    return [*offers, plain(image, profile_channels(image.mode))]


def same_pixels(image: Image.Image, written: Image.Image) -> bool:
    """Whether two images show the same, bit for bit."""
    if (
        image.info.get("transparency") == written.info.get("transparency")
        and "P" not in image.mode + written.mode
    ):
        one, other = np.asarray(image), np.asarray(written)
        whole = one.dtype.kind in "ui" and other.dtype.kind in "ui"
        if one.shape == other.shape and (whole or one.dtype == other.dtype):
            return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if is_deep(image.mode) or is_deep(written.mode):
        return False
    return np.array_equal(np.asarray(with_opacity(image)), np.asarray(with_opacity(written)))


def keepers(mode: str) -> str:
    """Which formats give every pixel of a mode back."""
    if mode in ("L", "RGB", "RGBA"):
        return "PNG, TIFF and WebP do"
    return "PNG and TIFF do" if mode in ("1", "LA", "P") or mode.startswith("I;16") else "TIFF does"
