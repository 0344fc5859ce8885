"""EXIF entry by entry: entries that can be written are kept unchanged, the others are left out and named, and
orientation turns the pixels.

Pillow reads texts as Latin-1, byte by byte, and writes them as ASCII with question marks; :class:`Text`
writes the bytes that were read.
"""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
from typing import Any

from PIL import ExifTags, Image, ImageOps

SUB_IFDS = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
Entries = dict[tuple[int, int], Any]
"""(directory, tag) → value; directory 0 is the first, the others are :data:`SUB_IFDS`."""
UNWRITABLE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)
"""What Pillow raises for entries that it cannot write: whatever their values run into."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Text(str):
    """A text that is written with the bytes that it was read from."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Latin-1, for any requested encoding."""
        return super().encode("latin-1", "replace")


def _said(image: Image.Image) -> Any:
    """The orientation by EXIF, or by XMP without it; 1 if it cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # a damaged block raises many kinds
        return 1


def orientation_of(image: Image.Image) -> int:
    """How an image is to be turned, 1 to 8, also where the number is written as text; 1 if there is no valid
    one."""
    value = _said(image)
    value = value[0] if isinstance(value, tuple) and value else value
    if isinstance(value, bytes):
        value = value[0] if len(value) == 1 and value[0] <= 8 else value.decode("latin-1")
    if isinstance(value, str):
        value = int(value.strip("\0 ")) if re.fullmatch(r"[\0 ]*[1-8][\0 ]*", value) else 1
    return next((number for number in range(1, 9) if number == value), 1)


def upright(image: Image.Image) -> Image.Image:
    """A loaded copy of an image, turned as its orientation says; EXIF that Pillow cannot write does not stop
    it.

    Raises:
        Exception: whatever decoding the pixels raises.
    """
    image.load()
    turn = TURNS.get(orientation_of(image))
    if turn is None or not isinstance(_said(image), (str, bytes, tuple)):
        with contextlib.suppress(*UNWRITABLE):
            return ImageOps.exif_transpose(image)
    result = image.copy() if turn is None else image.transpose(turn)
    for name in ("exif", "Raw profile type exif"):  # they would request another turn
        result.info.pop(name, None)
    for name in ("xmp", "XML:com.adobe.xmp"):
        if "tiff:Orientation" in str(result.info.get(name, "")):
            del result.info[name]
    return result


def entries_of(exif: Image.Exif, dropped: list[str] | None = None) -> Entries:
    """All entries of EXIF; those that cannot be read are named in ``dropped``."""
    found: Entries = {}
    for tag in list(exif):
        try:
            if tag in SUB_IFDS:
                part = dict(exif.get_ifd(tag))
                if ExifTags.IFD.Interop in part:
                    part[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
                found |= {(tag, name): value for name, value in part.items()}
            else:
                found[0, tag] = exif[tag]
        except MemoryError:
            raise
        except Exception:  # values of a damaged block raise many kinds
            if dropped is not None:
                dropped.append(name_of(0, tag))
    return found


def to_exif(entries: Entries) -> Image.Exif:
    """EXIF of entries, texts with their own bytes."""
    exif = Image.Exif()
    for directory in SUB_IFDS:
        part = {tag: with_texts(value) for (own, tag), value in entries.items() if own == directory}
        if part:
            exif.get_ifd(directory).update(part)
            exif[directory] = 0  # the offset is filled in when it is written
    for (own, tag), value in entries.items():
        if not own:
            exif[tag] = with_texts(value)
    return exif


def with_texts(value: Any) -> Any:
    """A value whose texts are :class:`Text`."""
    if isinstance(value, tuple):
        return tuple(map(with_texts, value))
    if isinstance(value, dict):
        return {key: with_texts(own) for key, own in value.items()}
    return Text(value) if isinstance(value, str) else value


def writable(entries: Entries, dropped: list[str]) -> Entries:
    """Those entries that come back as they were when they are written; the others are named in
    ``dropped``."""
    kept = {}
    for key, value in entries.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                again = Image.Exif()
                again.load(to_exif({key: value}).tobytes())
                came_back = entries_of(again).get(key)
        except MemoryError:
            raise
        except Exception:  # struct.error, TypeError, ValueError, OverflowError …
            came_back = None
        if same_entry(value, came_back):
            kept[key] = value
        else:
            dropped.append(name_of(*key))
    return kept


def same_entry(one: Any, other: Any) -> bool:
    """Whether two values of an entry say the same; a fraction over 0 is only equal to itself."""
    return plain_value(one) == plain_value(other)


def plain_value(value: Any) -> Any:
    """A value that can be compared: NaN equals NaN, a single value equals a tuple of one."""
    if isinstance(value, dict):
        return {key: plain_value(own) for key, own in value.items()}
    if isinstance(value, tuple):
        return plain_value(value[0]) if len(value) == 1 else tuple(map(plain_value, value))
    return "not a number" if value != value else value


def name_of(directory: int, tag: int) -> str:
    """The name of an entry for messages."""
    names = ExifTags.GPSTAGS if directory == ExifTags.IFD.GPSInfo else ExifTags.TAGS
    return f"EXIF {names.get(tag, tag)}"
