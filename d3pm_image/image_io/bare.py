"""Copies of image files without metadata, for decoders that refuse a file because of it.

A copy keeps the bytes of the compressed pixels and of their interpretation (size, palette, transparency). The
first copy lacks the parts that are damaged or too long, the second one all metadata.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

Copy = tuple[io.BytesIO, list[str]]
"""A copy, and words for what it lacks."""
MOST_COPIED = 2**29
"""Bytes of the largest file that is copied."""
MOST_TEXT, MOST_TEXTS = 2**20, 2**26
"""Bytes of a PNG text or profile, and of all together, when unpacked: Pillow's own limits."""
MOST_COMMENT = 2**16
"""Bytes of all comments before the first image of a GIF. Pillow's time grows with their square."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
TIFF_WORDS = frozenset({269, 270, 271, 272, 285, 305, 306, 315, 316, 330})
"""TIFF tags under 700 that do not describe how pixels are stored."""


def copies(file: BinaryIO) -> Iterator[Copy]:
    """Copies without some or all metadata; none for formats where it cannot be removed."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(16)
    if size > MOST_COPIED:
        return
    file.seek(0)
    data = file.read()
    if head.startswith((PNG_SIGNATURE, b"\xff\xd8")):
        cut = png if head.startswith(PNG_SIGNATURE) else jpeg
        before: list[str] = []
        for bare in (False, True):
            copy, names = cut(data, bare)
            if names != before:  # else the same copy as the one that could not be read
                yield copy, names
            before = names
    elif head[:4] in (b"II*\0", b"MM\0*"):
        yield from tiff(data)
    elif head[4:8] == b"ftyp":
        yield from without_exif(data)


def png(data: bytes, bare: bool) -> Copy:
    """A PNG without ancillary chunks that are damaged or too long, or without any but transparency."""
    kept, names, place, total = [PNG_SIGNATURE], [], len(PNG_SIGNATURE), 0
    while place + 12 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        name, end = data[place + 4 : place + 8], place + 12 + length
        critical = name in PNG_KEPT or not name[:1].islower()
        body = data[place + 8 : end - 4]
        if not critical:
            size = unpacked_size(name, body)
            total += size
            sound = not bare and size <= MOST_TEXT and total <= MOST_TEXTS
            sound = sound and struct.pack(">I", zlib.crc32(name + body)) == data[end - 4 : end]
        if critical or sound:
            kept.append(data[place:end])
        else:
            names.append(png_words(name, body))
        place = end
    return io.BytesIO(b"".join(kept) + data[place:]), names


def unpacked_size(name: bytes, body: bytes) -> int:
    """Bytes of a text or profile once unpacked, at most one over the limit; 0 of other chunks."""
    after = body.partition(b"\0")[2]
    if name in (b"iCCP", b"zTXt"):
        packed = after[1:]
    elif name == b"iTXt" and after[:1] == b"\1":
        packed = after[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        # not packed: only their sum is limited
        return 0 if name not in (b"tEXt", b"iTXt") else min(len(body), MOST_TEXT)
    try:
        return len(zlib.decompressobj().decompress(packed, MOST_TEXT + 1))
    except zlib.error:
        return 0


def png_words(name: bytes, body: bytes) -> str:
    """What a chunk is, for messages."""
    if name in (b"tEXt", b"zTXt", b"iTXt"):
        return f"text {body.partition(bytes(1))[0].decode('latin-1')!r}"
    return {b"iCCP": "colour profile", b"eXIf": "EXIF"}.get(name, f"chunk {name.decode('latin-1')}")


def jpeg(data: bytes, bare: bool) -> Copy:
    """A JPEG without application segments but those for colours, EXIF, XMP and profile, or without these as
    well."""
    kept, names, place = [data[:2]], [], 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, (length,) = data[place + 1], struct.unpack(">H", data[place + 2 : place + 4])
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA or marker in range(0xD0, 0xDA) or marker < 2:
            break
        body, end = data[place + 4 : place + 2 + length], place + 2 + max(length, 2)
        needed = (marker == 0xE0 and length >= 16) or (marker == 0xEE and length >= 14)
        wanted = not bare and (marker == 0xE1 or body.startswith(b"ICC_PROFILE\0") or marker == 0xFE)
        if marker in range(0xE0, 0xF0) or marker == 0xFE:
            if needed or wanted:
                kept.append(data[place:end])
            else:
                word = (
                    "EXIF"
                    if body.startswith(b"Exif\0")
                    else "comment"
                    if marker == 0xFE
                    else f"segment APP{marker - 0xE0}"
                )
                names.append("colour profile" if body.startswith(b"ICC_PROFILE\0") else word)
        else:
            kept.append(data[place:end])
        place = end
    return io.BytesIO(b"".join(kept) + data[place:]), list(dict.fromkeys(names))


def tiff(data: bytes) -> Iterator[Copy]:
    """The first page of a TIFF with only the tags that describe how pixels are stored; nothing if these
    cannot be read."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        (place,) = struct.unpack_from(order + "L", data, 4)
        (count,) = struct.unpack_from(order + "H", data, place)
        rows = [data[place + 2 + 12 * i : place + 14 + 12 * i] for i in range(count)]
        tags = [struct.unpack_from(order + "H", row)[0] for row in rows]
    except struct.error:
        return
    kept = [row for row, tag in zip(rows, tags, strict=True) if tag < 700 and tag not in TIFF_WORDS]
    directory = struct.pack(order + "H", len(kept)) + b"".join(kept) + struct.pack(order + "L", 0)
    yield (
        io.BytesIO(data[:place] + directory + data[place + len(directory) :]),
        ["EXIF and all tags that describe the image"],
    )


def without_exif(data: bytes) -> Iterator[Copy]:
    """An AVIF or HEIF whose EXIF has no entries; nothing where it has none."""
    before = data
    for head, empty in ((b"II*\0\x08\0\0\0", b"\0\0"), (b"MM\0*\0\0\0\x08", b"\0\0")):
        place = data.find(head)
        if place >= 0:
            data = data[: place + 8] + empty + data[place + 10 :]
    if data != before:
        yield io.BytesIO(data), ["EXIF"]


def without_long_comments(file: BinaryIO, words: list[str]) -> BinaryIO:
    """The file itself; of a GIF with long comments before its first image a copy in which they are passed
    over."""
    file.seek(0)
    head = file.read(13)
    if head[:4] != b"GIF8" or len(head) < 13:
        file.seek(0)
        return file
    places, total = [], 0
    for kind, label, place, size in gif_blocks(file, head):
        if kind == b",":
            break
        if label == 0xFE:
            places.append(place)
            total += size
    file.seek(0)
    if total <= MOST_COMMENT:
        return file
    words.append("comment")
    data = bytearray(file.read(MOST_COPIED))
    for place in places:
        data[place + 1] = 0x01  # the label of a text that is drawn, which decoders pass over
    return io.BytesIO(data)


def gif_blocks(file: BinaryIO, head: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Extensions (kind ``!``) and images (kind ``,``) of a GIF: kind, label, first byte, bytes."""
    place = 13 + (3 << (head[10] & 7) + 1 if head[10] & 128 else 0)
    while True:
        file.seek(place)
        start = file.read(2)
        if start[:1] == b"!":
            label, data = start[1:2], place + 2
        elif start[:1] == b",":
            flags = (start + file.read(8))[9:10]
            yield b",", 0, place, 0
            if not flags:
                return
            label, data = b"", place + 11 + (3 << (flags[0] & 7) + 1 if flags[0] & 128 else 0)
        else:
            return
        if start[:1] == b"!" and not label:
            return
        file.seek(data)
        while (length := file.read(1)) and length != b"\0":
            file.seek(length[0], io.SEEK_CUR)
        end = file.tell()
        if label:
            yield b"!", label[0], place, end - place
        if not length:
            return
        place = end
