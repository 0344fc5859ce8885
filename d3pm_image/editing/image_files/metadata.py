"""Metadata and encoding of an image file, so that an edited image is written like its source file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from ...image_io import Entries, entries_of, same_entry, to_exif, writable
from ...imaging import SETTINGS

# tags of a TIFF that describe the image; all others describe how that one file is laid out
DESCRIPTIVE = frozenset(
    {
        270,
        271,
        272,
        282,
        283,
        296,
        305,
        306,
        315,
        316,
        700,
        33432,
        33723,
        34377,
        ExifTags.IFD.Exif,
        ExifTags.IFD.GPSInfo,
    }
)
LOSSLESS_TIFF = frozenset(
    [
        "raw",
        "packbits",
        "tiff_lzw",
        "tiff_adobe_deflate",
        "tiff_deflate",
        "lzma",
        "zstd",
        "group3",
        "group4",
        "tiff_ccitt",
    ]
)
MOST_DPI = 1_000_000
XMP_TEXT = "XML:com.adobe.xmp"
SPACES = {
    b"GRAY": ("1", "L", "LA", "I", "F"),
    b"RGB ": ("RGB", "RGBA", "P", "PA", "YCbCr", "HSV"),
    b"CMYK": ("CMYK",),
    b"Lab ": ("LAB",),
}


@dataclass(frozen=True)
class Metadata:
    """Metadata that is written back.

    Args:
        mode: The image's mode, which its colour profile is for.
        exif: Entries, without orientation and thumbnail: the image is upright, and a thumbnail would show
            it before the edit.
        icc_profile: Colour profile.
        dpi: Pixels per inch, horizontally and vertically.
        xmp: XML packet.
        encoding: What Pillow needs to encode in the file's own way, by format.
        texts: Texts and colour chunks of a PNG.
        dropped: Names of parts that are left out because they cannot be written.
    """

    mode: str = "RGB"
    exif: Entries = field(default_factory=dict)
    icc_profile: bytes = b""
    dpi: tuple[float, float] | None = None
    xmp: bytes = b""
    encoding: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: tuple[tuple[bytes, bytes], ...] = ()
    dropped: tuple[str, ...] = ()


def read_metadata(opened: Image.Image, upright: Image.Image, turned: bool) -> Metadata:
    """Metadata of a loaded file and the upright copy of its image, which has been ``turned`` by a quarter
    or not."""
    info, dropped = upright.info, list[str]()
    dpi = info.get("dpi")
    if dpi and turned:
        dpi = dpi[::-1]
    xmp = info.get("xmp", b"")
    profile = info.get("icc_profile") or b""
    return Metadata(
        mode=upright.mode,
        exif=clean_exif(opened, dropped),
        icc_profile=profile if isinstance(profile, bytes) else b"",
        dpi=(float(dpi[0]), float(dpi[1])) if dpi and all(0 < own < MOST_DPI for own in dpi) else None,
        xmp=xmp if isinstance(xmp, bytes) else b"",
        encoding=encoding(opened),
        texts=png_chunks(opened, info),
        dropped=tuple(dropped),
    )


def clean_exif(opened: Image.Image, dropped: list[str]) -> Entries:
    """EXIF without orientation, thumbnail and, of a TIFF, what describes the layout of the file; ``dropped``
    gets the names of what cannot be written."""
    try:
        exif = opened.getexif()
    except MemoryError:
        raise
    except Exception:  # a damaged block raises many kinds
        dropped.append("EXIF")
        return {}
    found, tiff = entries_of(exif, dropped), opened.format == "TIFF"
    found.pop((0, ExifTags.Base.Orientation), None)
    return writable(
        {key: value for key, value in found.items() if not tiff or key[0] or key[1] in DESCRIPTIVE}, dropped
    )


def encoding(opened: Image.Image) -> dict[str, dict[str, Any]]:
    """How the file is encoded, as arguments of Pillow's ``save``."""
    info = opened.info
    if opened.format in ("JPEG", "MPO"):
        from PIL.JpegImagePlugin import get_sampling

        # with the same tables, blocks that were not painted stay nearly the same
        own = {"qtables": opened.quantization, "subsampling": get_sampling(opened)}  # type: ignore[attr-defined]
        return {"JPEG": own | {"progressive": True} if info.get("progressive") else own}
    if opened.format == "TIFF":
        compression = info.get("compression", "raw")
        return {
            "TIFF": {"compression": compression if compression in LOSSLESS_TIFF else "tiff_adobe_deflate"}
        }
    return {}


def png_chunks(opened: Image.Image, info: Mapping[Any, Any]) -> tuple[tuple[bytes, bytes], ...]:
    """Texts of a PNG, and the chunks that define its colours."""
    if opened.format != "PNG":
        return ()
    chunks = PngInfo()
    for name, value in getattr(opened, "text", {}).items():
        if name != SETTINGS:
            value = info.get(name, value)  # upright: the orientation is taken out of XMP
            chunks.add_itxt(
                name, str(value), getattr(value, "lang", None) or "", getattr(value, "tkey", None) or ""
            )
    if "srgb" in info:
        chunks.add(b"sRGB", bytes([info["srgb"]]))
    if "gamma" in info:
        chunks.add(b"gAMA", round(info["gamma"] * 100_000).to_bytes(4, "big"))
    if "chromaticity" in info:
        chunks.add(
            b"cHRM", b"".join(round(value * 100_000).to_bytes(4, "big") for value in info["chromaticity"])
        )
    return tuple((chunk[0], chunk[1]) for chunk in chunks.chunks)


def save_arguments(
    metadata: Metadata, kind: str, mode: str, size: tuple[int, int], settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Arguments of Pillow's ``save``.

    Args:
        kind: Format to write, such as ``PNG``.
        mode, size: Those of the image that is written.
        settings: Text for a PNG.
    """
    defaults: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True, "exact": True},
        "JPEG": {"quality": 95, "subsampling": 0},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
        "GIF": {"optimize": False},  # else indices are renumbered
    }
    own = metadata.encoding.get(kind) if mode == metadata.mode else None  # made for the bands of that mode
    arguments: dict[str, Any] = dict(own or defaults.get(kind, {}))
    # given even if empty: otherwise Pillow uses the profile of the original, which may be for another mode
    arguments["icc_profile"] = (
        metadata.icc_profile if mode == metadata.mode or fits(metadata.icc_profile, mode) else None
    )
    if metadata.dpi:
        arguments["dpi"] = metadata.dpi
    if metadata.exif:
        arguments["exif"] = to_exif(sized_exif(metadata.exif, size))
    if metadata.xmp and kind in ("JPEG", "WEBP"):
        arguments["xmp"] = metadata.xmp
    if kind == "PNG":
        arguments["pnginfo"] = PngInfo()
        for name, data in metadata.texts:
            arguments["pnginfo"].add(name, data)
        if settings:
            arguments["pnginfo"].add_text(SETTINGS, json.dumps(settings))
    return {name: value for name, value in arguments.items() if value is not None or name == "icc_profile"}


def fits(profile: bytes, mode: str) -> bool:
    """Whether a colour profile is for images of a mode."""
    return mode.partition(";")[0] in SPACES.get(profile[16:20], ())


def sized_exif(entries: Entries, size: tuple[int, int]) -> Entries:
    """EXIF with the right image size in its entries, if it has such entries."""
    own: dict[int, Any] = {ExifTags.Base.ExifImageWidth: size[0], ExifTags.Base.ExifImageHeight: size[1]}
    exif = ExifTags.IFD.Exif
    return {key: own.get(key[1], value) if key[0] == exif else value for key, value in entries.items()}


def not_kept(metadata: Metadata, kind: str, written: Image.Image) -> list[str]:
    """Metadata that a file which was just written does not hold, read back.

    Args:
        kind: Its format.
        written: Loaded.
    """
    wanted = sized_exif(metadata.exif, written.size)
    there = entries_of(written.getexif()) if wanted else {}
    lost = [] if all(same_entry(value, there.get(key)) for key, value in wanted.items()) else ["EXIF"]
    if metadata.icc_profile and written.info.get("icc_profile") != metadata.icc_profile:
        lost.append("the colour profile")
    if (
        metadata.xmp
        and written.info.get("xmp") != metadata.xmp
        and not (kind == "PNG" and XMP_TEXT in written.info)
    ):
        lost.append("XMP")
    if not {*metadata.texts} <= {*png_chunks(written, written.info)}:
        lost.append("texts and colour chunks of the PNG")
    if metadata.dpi and kind in ("JPEG", "PNG", "TIFF"):
        dpi = written.info.get("dpi", (0, 0))
        near = all(abs(own - new) <= 0.5 + 0.01 * own for own, new in zip(metadata.dpi, dpi, strict=True))
        lost += [] if near else ["dpi"]
    return lost


def fewer(metadata: Metadata) -> list[Metadata]:
    """The metadata, then less of it, for encoders that refuse an image because of it."""
    levels = [
        metadata,
        replace(metadata, exif={}, xmp=b""),
        Metadata(mode=metadata.mode, dropped=metadata.dropped),
    ]
    return [level for number, level in enumerate(levels) if level not in levels[:number]]
