"""Image files with sound pixels and odd metadata, made byte by byte, and colour profiles other than sRGB."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 2, 3, 4, 5, 7, 10
UNIT = {1: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, UNDEFINED: 1, SRATIONAL: 8}
Entry = tuple[int, int, bytes]
"""Tag, type, value."""


def smooth(width: int = 64, height: int = 48) -> Image.Image:
    """An image that no turn leaves as it is."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([4 * x, 5 * y, (x * y) // 16], -1).astype(np.uint8))


def directory(entries: list[Entry], place: int) -> bytes:
    """A little-endian IFD that begins at a place, its longer values behind it."""
    head, data, behind = struct.pack("<H", len(entries)), b"", place + 2 + 12 * len(entries) + 4
    for tag, kind, value in sorted(entries):
        packed = value if len(value) <= 4 else struct.pack("<L", behind + len(data))
        data += b"" if len(value) <= 4 else value
        head += struct.pack("<HHL", tag, kind, len(value) // UNIT[kind]) + packed.ljust(4, b"\0")
    return head + struct.pack("<L", 0) + data


def exif(entries: list[Entry], gps: list[Entry] = (), details: list[Entry] = ()) -> bytes:  # type: ignore[assignment]
    """An EXIF block with a first directory, and those of the position and of the details."""
    parts, entries = b"", list(entries)
    first = len(entries) + bool(gps) + bool(details)
    size = 2 + 12 * first + 4 + sum(len(value) for _, _, value in entries if len(value) > 4)
    for tag, own in ((0x8825, gps), (0x8769, details)):
        if own:
            entries.append((tag, LONG, struct.pack("<L", 8 + size + len(parts))))
            parts += directory(list(own), 8 + size + len(parts))
    return b"Exif\0\0II*\0" + struct.pack("<L", 8) + directory(entries, 8) + parts


def jpeg(segments: list[tuple[int, bytes]], image: Image.Image | None = None) -> bytes:
    """A JPEG with segments (marker, body) behind its first."""
    buffer = io.BytesIO()
    (image or smooth()).save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    extra = b"".join(
        b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return data[:2] + extra + data[2:]


def chunk(name: bytes, body: bytes, crc: int | None = None) -> bytes:
    """A PNG chunk; another checksum makes it a damaged one."""
    return (
        struct.pack(">I", len(body))
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body) if crc is None else crc)
    )


def png(chunks: list[bytes], image: Image.Image | None = None, behind: bool = False) -> bytes:
    """A PNG with chunks before its pixels, or behind them."""
    buffer = io.BytesIO()
    (image or smooth()).save(buffer, "PNG")
    data = buffer.getvalue()
    place = len(data) - 12 if behind else 33
    return data[:place] + b"".join(chunks) + data[place:]


def tagged(name: bytes, body: bytes) -> tuple[bytes, bytes]:
    return name, body + bytes(-len(body) % 4)


def profile(gamma: float = 2.2, grey: bool = False) -> bytes:
    """An ICC profile of Adobe RGB's primaries and a gamma, or of greys with a gamma."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    curve = b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(gamma * 256))
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(78)
    tags = [
        tagged(b"desc", text),
        tagged(b"cprt", b"text\0\0\0\0none\0"),
        tagged(b"wtpt", b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)),
    ]
    if grey:
        tags.append(tagged(b"kTRC", curve))
    else:
        wide = {
            b"rXYZ": (0.60974, 0.31111, 0.01947),
            b"gXYZ": (0.20528, 0.62567, 0.06087),
            b"bXYZ": (0.14919, 0.06322, 0.74457),
        }
        tags += [tagged(name, b"XYZ \0\0\0\0" + fixed(*xyz)) for name, xyz in wide.items()]
        tags += [tagged(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    place, table = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags))
    for name, body in tags:
        table += struct.pack(">4sII", name, place, len(body))
        place += len(body)
    space = b"GRAY" if grey else b"RGB "
    head = (
        struct.pack(">I4sI4s4s4s", place, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
        + bytes(12)
        + b"acsp"
        + bytes(28)
    )
    head += fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + table + b"".join(body for _, body in tags)
