"""Open image files: formats of a fixed list only, regular files only, and pixels before metadata.

Pillow chooses the decoder by content, not by name. Some of its decoders start programs (EPS runs
Ghostscript), open files that the file names (IPTC), unpack without a limit (FITS), or pass the file to other
installed software (WMF, GRIB, HDF5, BUFR, FlashPix, MIC). None of these is in :data:`FORMATS`.
"""

from __future__ import annotations

import contextlib
import functools
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from .bare import copies, without_long_comments
from .exif import upright

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "TIFF",
    "BMP",
    "DIB",
    "PPM",
    "AVIF",
    "HEIF",
    "JPEG2000",
    "PSD",
    "DDS",
    "QOI",
    "ICO",
    "SGI",
    "SUN",
    "PCX",
    "TGA",
)
"""Pillow's names of all formats that are opened, anywhere. HEIF is there where pillow-heif has registered it;
MPO is opened as JPEG. TGA, which has no signature, comes last."""


@functools.cache
def _register() -> None:
    """Make all decoders known to Pillow."""
    Image.init()
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def readable_formats() -> tuple[str, ...]:
    """Those of :data:`FORMATS` that this installation can read."""
    _register()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def image_endings() -> set[str]:
    """Endings of file names, such as ``.png``, of the formats that are opened."""
    kinds = {*readable_formats(), "MPO"}
    return {ending for ending, kind in Image.registered_extensions().items() if kind in kinds}


@contextmanager
def regular_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file opened for reading, refused before a pipe or device can hang.

    Raises:
        UnidentifiedImageError: a pipe, socket or device.
        OSError: what opening a file raises.
    """
    kind = Path(path).stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # opening a folder says what it is
        raise UnidentifiedImageError("a pipe, socket or device, not an image file")
    with open(path, "rb") as file:
        yield file


def _open(file: BinaryIO, formats: tuple[str, ...] | None, load: bool) -> ImageFile.ImageFile:
    known = readable_formats()
    image = Image.open(file, formats=tuple(name for name in formats if name in known) if formats else known)
    if load:
        image.load()
    return image


def is_of_the_machine(error: Exception) -> bool:
    """Whether an error is one of the machine, not of the file: memory, disk, threads, or too many open files.
    Those of the system have a number (errno)."""
    if isinstance(error, OSError):
        # Pillow's decoders report a failed allocation as an OSError without a number
        return error.errno is not None or "out of memory" in str(error)
    return isinstance(error, MemoryError) or "can't start new thread" in str(error)


@contextmanager
def opened(
    source: str | Path | BinaryIO,
    load: bool = True,
    dropped: list[str] | None = None,
    formats: tuple[str, ...] | None = None,
) -> Iterator[ImageFile.ImageFile]:
    """An image file, open and in its own mode. If Pillow refuses metadata, the pixels are read without it.

    Args:
        source: Path, or an open binary file that can seek.
        load: Decode the pixels; False reads the header alone.
        dropped: Gets the name of everything that was left out.
        formats: Some of :data:`FORMATS`, if the format is known.

    Raises:
        OSError, MemoryError: of the machine.
        Exception: whatever Pillow raises for a file whose pixels cannot be read.
    """
    words: list[str] = []
    with ExitStack() as stack:
        file = stack.enter_context(regular_file(source)) if isinstance(source, (str, Path)) else source
        image = stack.enter_context(_readable(file, formats, load, words))
        if dropped is not None:
            dropped += words
        yield image


def _readable(
    file: BinaryIO, formats: tuple[str, ...] | None, load: bool, words: list[str]
) -> ImageFile.ImageFile:
    """The image of an open file, or of a copy of it without some metadata; ``words`` gets the names of what
    is missing."""
    file = without_long_comments(file, words)
    try:
        return _open(file, formats, load)
    except Image.DecompressionBombError:
        raise
    except Exception as error:
        found = None if is_of_the_machine(error) else _without_metadata(file, formats, load, words)
        if found is None:
            raise
        return found


def _without_metadata(
    file: BinaryIO, formats: tuple[str, ...] | None, load: bool, words: list[str]
) -> ImageFile.ImageFile | None:
    """The image out of the first copy without some of its metadata that can be read, or None."""
    for copy, names in copies(file):
        try:
            image = _open(copy, formats, load)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
            raise
        except Exception:  # Pillow raises many kinds; the first error is the one that is reported
            continue
        words += names
        return image
    return None


def read_header(file: BinaryIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """An image of which the header is read and no pixels yet; arguments as in :func:`read_image`. Raises as
    :func:`opened`."""
    return _readable(file, formats, False, [])


def open_image(path: str | Path) -> Image.Image:
    """Load an image file fully, upright (EXIF orientation applied). Raises as :func:`opened`."""
    # by the open file: given a path, Pillow 13 maps uncompressed rotated TIFFs wrongly
    with opened(path) as image:
        return upright(image)


def read_image(file: BinaryIO, formats: tuple[str, ...] | None = None) -> Image.Image:
    """Load an image out of an open file fully, upright. Raises as :func:`opened`.

    Args:
        formats: Pillow's names of the formats to try, of :data:`FORMATS`; None for all of those.
    """
    with opened(file, formats=formats) as image:
        return upright(image)
