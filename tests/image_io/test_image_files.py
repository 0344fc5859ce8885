"""Files of strangers: which formats are opened, and pixels that are read whatever stands beside them."""

from __future__ import annotations

import gzip
import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers import odd_files as odd
from helpers.paths import ROOT
from PIL import EpsImagePlugin, ExifTags, Image, UnidentifiedImageError

from d3pm_image.config import ConfigError
from d3pm_image.data.sources import folder
from d3pm_image.editing.image_files.files import open_image_file, write_image_file
from d3pm_image.image_io import open_image
from d3pm_image.provenance import read_settings

PACKAGE = ROOT / "d3pm_image"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n{} loop\nshowpage\n%%EOF\n"


def test_image_files_are_opened_in_one_place():
    places = [
        line
        for path in PACKAGE.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "Image.open(" in line
    ]
    assert len(places) == 1


# formats


@pytest.fixture
def ghost(tmp_path, monkeypatch) -> Path:
    """A Ghostscript of the test's own: the file is there once somebody starts it."""
    started, program = tmp_path / "started", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return started


@pytest.mark.parametrize("ending", ["png", "jpg", "eps", "tif"])
@pytest.mark.parametrize("read", [open_image, open_image_file, read_settings])
def test_postscript_starts_no_program_whatever_its_name(tmp_path, ghost, read, ending):
    (tmp_path / f"a.{ending}").write_bytes(EPS)
    with pytest.raises((OSError, ConfigError)):
        read(tmp_path / f"a.{ending}")
    assert not ghost.exists()


def test_postscript_among_training_images_starts_no_program(tmp_path, ghost):
    for number in range(2):
        odd.smooth().save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(EPS)
    with pytest.warns(UserWarning, match=r"2\.png"):
        source = folder(tmp_path)
    assert len(source) == 2 and not ghost.exists()


FITS = b"".join(card.ljust(80) for card in (b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    2", b"NAXIS1  =                    4", b"NAXIS2  =                    4", b"END")).ljust(2880) + bytes(2880)  # fmt: skip
OTHERS = {
    "a program by EPS in IPTC": b"\x1c\x03\x00\x00\x05x\x1c\x03\x3c\x00\x02\x01\x00" + EPS,
    "FITS": FITS,
    "WMF": b"\xd7\xcd\xc6\x9a\x00\x00\x00\x00\x00\x00\x40\x00\x40\x00\x60\x00"
    + bytes(6)
    + b"\x01\x00\t\x00"
    + bytes(40),
    "EMF": b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(60),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "GRIB": b"GRIB\0\0\0\1" + bytes(100),
    "BUFR": b"BUFR" + bytes(100),
    "compressed": gzip.compress(FITS),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_formats_that_hand_the_file_on_are_unknown(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(OTHERS[kind])
    with pytest.raises(UnidentifiedImageError):
        open_image(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"^image=.*: not a readable image"):
        open_image_file(tmp_path / "a.png")


@pytest.mark.parametrize(
    "kind",
    [
        "JPEG",
        "PNG",
        "WEBP",
        "GIF",
        "TIFF",
        "BMP",
        "DIB",
        "PPM",
        "AVIF",
        "JPEG2000",
        "ICO",
        "SGI",
        "PCX",
        "TGA",
    ],
)
def test_usual_formats_are_read_as_before_under_any_name(tmp_path, kind):
    path = tmp_path / "a.png"
    odd.smooth(64, 64).save(path, kind)
    with Image.open(path) as image:
        expected = image.copy()
    for found in (open_image(path), open_image_file(path).image):
        assert found.mode == expected.mode and np.array_equal(np.asarray(found), np.asarray(expected))


def test_bombs_are_guarded_also_behind_odd_metadata(tmp_path, monkeypatch):
    """What is cut out to read the pixels does not open the way to more of them than Pillow allows."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    text = odd.chunk(b"zTXt", b"workflow\0\0" + zlib.compress(bytes(2**20 + 1)))
    for side in (1500, 2100):
        (tmp_path / "a.png").write_bytes(odd.png([text], Image.new("1", (side, side))))
        with pytest.raises(ConfigError, match=r"holds more than 2 million pixels"):
            open_image_file(tmp_path / "a.png")


# EXIF

O6 = (274, odd.SHORT, struct.pack("<H", 6))
MAKE = (271, odd.ASCII, b"maker\0")
NAN = struct.pack("<ll", -1, 0)
BLOCKS = {
    "altitude reference as text": odd.exif([O6, MAKE], gps=[(5, odd.ASCII, b"\0\0")]),
    "width as a fraction": odd.exif([O6, MAKE, (256, odd.RATIONAL, struct.pack("<LL", 64, 1))]),
    "a long where a short is written": odd.exif([O6, MAKE, (531, odd.LONG, struct.pack("<L", 70_000))]),
    "a signed fraction over zero": odd.exif([O6, MAKE, (282, odd.SRATIONAL, NAN)]),
    "orientation as text": odd.exif([(274, odd.ASCII, b"6\0"), MAKE]),
    "orientation as a byte": odd.exif([(274, 1, b"\6"), MAKE]),
    "orientation twice": odd.exif([(274, odd.SHORT, struct.pack("<HH", 6, 6)), MAKE]),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_pixels_of_a_jpeg_count_and_not_its_exif(tmp_path, name):
    path = tmp_path / "a.jpg"
    path.write_bytes(odd.jpeg([(0xE1, BLOCKS[name])]))
    with Image.open(io.BytesIO(odd.jpeg([]))) as image:
        expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    assert np.array_equal(np.asarray(open_image(path)), expected)
    assert len(folder(tmp_path)) == 1
    source = open_image_file(path)
    assert np.array_equal(np.asarray(source.image), expected)
    for ending in ("png", "tif", "webp"):
        assert write_image_file(source.image, tmp_path / f"b.{ending}", source) is None
        with Image.open(tmp_path / f"b.{ending}") as again:
            assert again.getexif()[ExifTags.Base.Make] == "maker" and again.getexif().get(274, 1) == 1
            assert again.size == source.image.size
    if not name.startswith("orientation"):
        assert len(source.notes) == 1 and "a.jpg: left out" in source.notes[0] and "EXIF " in source.notes[0]


@pytest.mark.parametrize(
    "block", [b"Exif\0\0junk that is no block", b"Exif\0\0II*\0" + b"\xff" * 40, odd.exif([O6, MAKE])[:30]]
)
def test_a_damaged_exif_block_is_left_out(tmp_path, block):
    path = tmp_path / "a.jpg"
    path.write_bytes(odd.jpeg([(0xE1, block)]))
    source = open_image_file(path)
    assert {source.image.size, open_image(path).size} <= {(64, 48), (48, 64)}
    write_image_file(source.image, tmp_path / "b.jpg", source)
    assert Image.open(tmp_path / "b.jpg").size == source.image.size


def test_the_command_edits_such_a_file_and_says_what_it_left_out(tmp_path, capsys):
    from d3pm_image.cli.edit import inpaint as main

    (tmp_path / "a.jpg").write_bytes(odd.jpeg([(0xE1, BLOCKS["width as a fraction"])]))
    main(
        [
            "eurosat",
            str(tmp_path / "a.jpg"),
            "--box",
            "8,8,8,8",
            "--steps",
            "1",
            "--out",
            str(tmp_path / "o.png"),
        ]
    )
    assert re.search(r"note: a\.jpg: left out.*EXIF ImageWidth", capsys.readouterr().err)
    assert Image.open(tmp_path / "o.png").size == (48, 64)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
def test_texts_beyond_ascii_come_back_as_they_were(tmp_path, ending):
    """EXIF texts are bytes; cameras and programs write UTF-8, others Latin-1."""
    words, latin = "Müller 東京 ©".encode(), "Café".encode("latin-1")
    block = odd.exif(
        [(315, odd.ASCII, words + b"\0"), (270, odd.ASCII, latin + b"\0")],
        details=[(42036, odd.ASCII, words + b"\0")],
    )
    (tmp_path / "a.jpg").write_bytes(odd.jpeg([(0xE1, block)]))
    source = open_image_file(tmp_path / "a.jpg")
    write_image_file(source.image, tmp_path / f"b.{ending}", source)
    with Image.open(tmp_path / f"b.{ending}") as again:
        found = again.getexif()
        assert (
            found[ExifTags.Base.Artist].encode("latin-1") == words and found[270].encode("latin-1") == latin
        )
        assert found.get_ifd(ExifTags.IFD.Exif)[42036].encode("latin-1") == words
    assert not source.notes


def test_a_tiff_keeps_texts_beyond_ascii(tmp_path):
    words = "Müller ©".encode()
    odd.smooth().save(tmp_path / "a.tif", tiffinfo={315: words})
    source = open_image_file(tmp_path / "a.tif")
    assert write_image_file(source.image, tmp_path / "b.tif", source) is None
    assert Image.open(tmp_path / "b.tif").tag_v2[315].encode("latin-1") == words


# chunks, segments and tags

LONG_TEXT = zlib.compress(b"x" * (2**20 + 1))
CHUNKS = {
    "a long text": (odd.chunk(b"zTXt", b"workflow\0\0" + LONG_TEXT), "text 'workflow'"),
    "a long international text": (odd.chunk(b"iTXt", b"prompt\0\1\0\0\0" + LONG_TEXT), "text 'prompt'"),
    "a long profile": (odd.chunk(b"iCCP", b"icc\0\0" + LONG_TEXT), "colour profile"),
    "a damaged text": (odd.chunk(b"tEXt", b"Author\0me", crc=0), "text 'Author'"),
    "a text packed otherwise": (odd.chunk(b"zTXt", b"Title\0\7abc"), "text 'Title'"),
    "a profile without a name": (odd.chunk(b"iCCP", b"icc"), "colour profile"),
    "no resolution": (odd.chunk(b"pHYs", b"\0\0"), "pHYs"),
    "no rendering intent": (odd.chunk(b"sRGB", b""), "sRGB"),
    "no gamma": (odd.chunk(b"gAMA", b"\1"), "gAMA"),
    "a wrong animation": (odd.chunk(b"acTL", b"\1"), "acTL"),
}


@pytest.mark.parametrize("name", CHUNKS)
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_pixels_of_a_png_count_and_not_its_chunks(tmp_path, name, mode):
    image = odd.smooth().convert("P") if mode == "P" else odd.smooth()
    if mode == "P":
        image.info["transparency"] = bytes(range(200, 256))
    kept, (bad, words) = odd.chunk(b"tEXt", b"Software\0kept"), CHUNKS[name]
    (tmp_path / "a.png").write_bytes(odd.png([kept, bad], image))
    with Image.open(io.BytesIO(odd.png([], image))) as sound:
        expected, info = np.asarray(sound), sound.info
    found = open_image(tmp_path / "a.png")
    assert np.array_equal(np.asarray(found), expected) and found.info.get("transparency") == info.get(
        "transparency"
    )
    assert len(folder(tmp_path)) == 1
    source = open_image_file(tmp_path / "a.png")
    assert len(source.notes) == 1 and "a.png: left out" in source.notes[0] and words in source.notes[0]
    write_image_file(source.image, tmp_path / "b.png", source)
    if "long" in name or "damaged" in name:  # what can be kept is
        assert Image.open(tmp_path / "b.png").text["Software"] == "kept"


def test_a_long_text_behind_the_pixels_is_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(odd.png([CHUNKS["a long text"][0]], behind=True))
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), np.asarray(odd.smooth()))
    assert "workflow" in open_image_file(tmp_path / "a.png").notes[0]


@pytest.mark.parametrize(
    "segment",
    [
        (0xED, b"Photoshop 3.0\0" + b"8BIM\4\4"),  # ends within its first resource
        (0xE0, b"JFIF\0"),
        (
            0xE2,
            b"MPF\0II*\0"
            + struct.pack("<L", 8)
            + odd.directory([(0xB001, odd.LONG, b"\2\0\0\0"), (0xB002, 7, b"\0" * 8)], 8),
        ),
    ],
    ids=["photoshop", "jfif", "mpf"],
)
def test_pixels_of_a_jpeg_count_and_not_its_segments(tmp_path, segment):
    (tmp_path / "a.jpg").write_bytes(odd.jpeg([segment, (0xE1, odd.exif([MAKE]))]))
    with Image.open(io.BytesIO(odd.jpeg([]))) as sound:
        assert np.array_equal(np.asarray(open_image(tmp_path / "a.jpg")), np.asarray(sound))
    source = open_image_file(tmp_path / "a.jpg")
    assert source.metadata.exif and "left out" in source.notes[0]


def test_pixels_of_a_tiff_count_and_not_its_tags(tmp_path):
    """A pointer to interoperability data without the details that it belongs to."""
    odd.smooth().save(tmp_path / "a.tif", tiffinfo={40965: 8, 271: "maker"})
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.tif")), np.asarray(odd.smooth()))
    assert "left out" in open_image_file(tmp_path / "a.tif").notes[0]


def test_files_whose_pixels_are_damaged_stay_unreadable(tmp_path):
    data = odd.png([CHUNKS["a long text"][0]], Image.effect_noise((64, 64), 50))
    (tmp_path / "a.png").write_bytes(data[: len(data) - 2000])
    with pytest.raises(ValueError, match="too large"):
        open_image(tmp_path / "a.png")


# what is written is read back


def test_exif_that_a_format_does_not_take_is_left_out_and_named(tmp_path):
    block = odd.exif(
        [MAKE], details=[(37510, odd.UNDEFINED, b"ASCII\0\0\0" + b"x" * 70_000)]
    )  # a JPEG takes 64 KB
    odd.smooth().save(tmp_path / "a.png", exif=block)
    source = open_image_file(tmp_path / "a.png")
    assert re.search(r"does not hold EXIF", write_image_file(source.image, tmp_path / "b.jpg", source) or "")
    assert re.search(
        r"^b\.bmp: BMP does not hold EXIF of the original$",
        write_image_file(source.image, tmp_path / "b.bmp", source) or "",
    )
    assert write_image_file(source.image, tmp_path / "b.tif", source) is None


def test_a_profile_that_no_png_may_hold_is_left_out_and_named(tmp_path):
    profile = odd.profile() + np.random.default_rng(0).bytes(2**20)
    odd.smooth().save(tmp_path / "a.tif", icc_profile=profile)
    source = open_image_file(tmp_path / "a.tif")
    assert "colour profile" in (write_image_file(source.image, tmp_path / "b.png", source) or "")
    with Image.open(tmp_path / "b.png") as again:  # others can read it
        assert np.array_equal(np.asarray(again), np.asarray(odd.smooth()))


# long files


def test_long_comments_of_a_gif_are_passed_over(tmp_path):
    odd.smooth().convert("P").save(tmp_path / "a.gif", comment=b"short")
    data = (tmp_path / "a.gif").read_bytes()
    assert open_image_file(tmp_path / "a.gif").image.info["comment"] == b"short"
    place = 13 + (3 << (data[10] & 7) + 1)
    comment = b"!\xfe" + (b"\xff" + b"x" * 255) * 30_000 + b"\0"
    (tmp_path / "b.gif").write_bytes(data[:place] + comment + data[place:])
    source = open_image_file(tmp_path / "b.gif")
    assert np.array_equal(np.asarray(source.image), np.asarray(open_image_file(tmp_path / "a.gif").image))
    assert "comment" in source.notes[0] and "comment" not in source.image.info


@pytest.mark.parametrize(("ending", "word"), [("tif", "pages"), ("gif", "frames")])
def test_pages_are_counted_up_to_a_limit(tmp_path, ending, word):
    """By their headers: counting them all by loading each takes time that grows with the square of their number."""
    frames = [Image.new("L", (1, 1), number % 256) for number in range(1100)]
    for count, text in ((3, "3"), (1100, "more than 1000")):
        frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:count])
        assert open_image_file(tmp_path / f"a.{ending}").notes == (
            f"a.{ending}: the first of {text} {word} is used",
        )
