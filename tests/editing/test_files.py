"""Image files: what comes in goes out, in its mode, size and format, with what it says beside its pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from helpers.odd_images import (
    FILES,
    HEIGHT,
    LOSSLESS,
    MODES,
    WIDTH,
    YCBCR_TIFF,
    make_image,
    painting,
    seen,
    weights,
)
from PIL import ExifTags, Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from d3pm_image.config import ConfigError
from d3pm_image.editing.image_files.files import (
    ENDINGS,
    ImageFile,
    open_image_file,
    result_path,
    write_image_file,
)
from d3pm_image.editing.image_files.image import paste
from d3pm_image.editing.image_files.metadata import Metadata
from d3pm_image.imaging import plain

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def written(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


# every mode through a file


@pytest.mark.parametrize("name", FILES)
def test_the_known_pixels_of_a_file_come_back_exactly(tmp_path, name):
    """Read, paint, write, read: same format, mode and size, and every pixel that was not painted the same in that mode."""
    image, options = FILES[name]
    source = open_image_file(written(tmp_path / name, image, **options))
    assert source.image.mode == image.mode and not source.notes
    weight = (weights() == 1).astype(float)
    result = paste(source.image, painting(), weight)
    out = result_path(source, "inpainted")
    assert out == tmp_path / f"{Path(name).stem}-inpainted{Path(name).suffix}"
    assert write_image_file(result, out, source) is None
    again = open_image_file(out)
    assert (again.kind, again.image.mode, again.image.size) == (
        source.kind,
        source.image.mode,
        source.image.size,
    )
    before, after = np.asarray(source.image), np.asarray(again.image)
    assert before.dtype == after.dtype and np.array_equal(before[weight == 0], after[weight == 0])
    assert np.array_equal(after, np.asarray(result)) and again.image.info.get(
        "transparency"
    ) == result.info.get("transparency")
    if image.mode not in ("I", "F", "I;16", "I;16B"):
        assert np.array_equal(seen(again.image)[weight == 0], seen(source.image)[weight == 0])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, out.name])


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_a_format_gives_an_image_back_or_says_that_it_does_not(tmp_path, mode, kind):
    image, out = make_image(mode), tmp_path / f"out{ENDINGS[kind]}"
    note = write_image_file(image, out, ImageFile(tmp_path / "in.png", image, "PNG", Metadata(mode)))
    with Image.open(out) as result:
        result.load()
    assert result.size == image.size and result.format == kind
    deep = mode[0] in "IF"
    if note is None and not deep:
        assert np.array_equal(seen(result), seen(image))
    elif note is None:
        assert np.array_equal(np.asarray(result), np.asarray(image))
    elif kind == "GIF" and mode[-1] in "Aa":  # opacity is all or nothing there
        assert "GIF" in note
    else:
        assert out.name in note and kind in note and "\n" not in note
        near = np.abs(np.asarray(plain(result, 3)).astype(int) - np.asarray(plain(image, 3))).mean()
        assert near < 40, "the same image all the same"


@pytest.mark.parametrize(
    ("mode", "ending"), [(m, e) for e in ("png", "tif") for m in MODES if m[0] != "H" and m not in ("RGBa", "La") and (e == "tif" or m not in ("YCbCr", "LAB", "F")) and (YCBCR_TIFF or m != "YCbCr")]
)  # fmt: skip
def test_png_and_tiff_hold_what_they_are_said_to_hold(tmp_path, mode, ending):
    image = make_image(mode)
    assert (
        write_image_file(
            image, tmp_path / f"out.{ending}", ImageFile(tmp_path / "in", image, "PNG", Metadata(mode))
        )
        is None
    )


@pytest.mark.parametrize(("mode", "ending", "words"), [("RGB", "jpg", "PNG, TIFF and WebP do"), ("I;16", "bmp", "PNG and TIFF do"), ("CMYK", "jpg", "TIFF does"), ("RGBA", "bmp", "PNG, TIFF and WebP do")])  # fmt: skip
def test_the_note_names_formats_that_keep_every_pixel(tmp_path, mode, ending, words):
    image = make_image(mode)
    assert words in write_image_file(
        image, tmp_path / f"out.{ending}", ImageFile(tmp_path / "in", image, "PNG", Metadata(mode))
    )


def test_transparency_is_laid_on_white_where_a_format_has_none(tmp_path):
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 0))
    for ending in ("jpg", "bmp", "ppm"):
        assert write_image_file(
            image, tmp_path / f"a.{ending}", ImageFile(tmp_path / "in", image, "PNG", Metadata("RGBA"))
        )
        assert np.asarray(Image.open(tmp_path / f"a.{ending}")).min() > 250


def test_a_small_palette_stays_a_small_file(tmp_path):
    """A PNG of 4 colours has 2 bits per pixel; paint of the same colours keeps it so."""
    image = Image.frombytes("P", (16, 16), (np.arange(256) % 4).astype(np.uint8).tobytes())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    source = open_image_file(written(tmp_path / "a.png", image))
    write_image_file(
        paste(source.image, Image.new("RGB", (16, 16), "red"), np.eye(16)), tmp_path / "b.png", source
    )
    depth = [(tmp_path / name).read_bytes()[24] for name in ("a.png", "b.png")]
    assert depth == [2, 2] and np.asarray(open_image_file(tmp_path / "b.png").image)[3, 3] == 1


# what stands beside the pixels


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_read_upright_and_not_turned_again(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "maker"
    image = Image.fromarray(
        np.kron(np.random.default_rng(0).integers(0, 256, (2, 3)), np.ones((16, 16))).astype(np.uint8)
    )
    options = LOSSLESS if ending == "webp" else {"quality": 95} if ending == "jpg" else {}
    path = written(tmp_path / f"a.{ending}", image, exif=exif, dpi=(72, 144), **options)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    expected = ImageOps.exif_transpose(image)
    source = open_image_file(path)
    assert source.image.size == expected.size == ((48, 32) if orientation < 5 else (32, 48))
    close = np.abs(np.asarray(plain(source.image, 1)).astype(int) - np.asarray(expected))
    assert close.max() <= (20 if ending == "jpg" else 0)
    write_image_file(source.image, tmp_path / f"b.{ending}", source)
    with Image.open(tmp_path / f"b.{ending}") as again:
        assert (
            again.getexif().get(ExifTags.Base.Orientation, 1) == 1
            and again.getexif()[ExifTags.Base.Make] == "maker"
        )
        assert again.size == expected.size
        if ending != "webp":
            assert [round(d) for d in again.info["dpi"]] == ([72, 144] if orientation < 5 else [144, 72])
    assert (
        np.array_equal(np.asarray(open_image_file(tmp_path / f"b.{ending}").image), np.asarray(source.image))
        or ending == "jpg"
    )


def rich_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.LensModel] = "a lens"
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = WIDTH, HEIGHT
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] = "WGS-84"
    return exif


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "avif"])
def test_profile_exif_and_dpi_are_written_back(tmp_path, ending):
    options = LOSSLESS if ending == "webp" else {}
    image = Image.new("RGB", (WIDTH, HEIGHT), (9, 99, 199))
    source = open_image_file(
        written(
            tmp_path / f"a.{ending}",
            image,
            exif=rich_exif().tobytes(),
            icc_profile=SRGB,
            dpi=(300, 300),
            **options,
        )
    )
    wider = source.image.crop((0, 0, WIDTH + 8, HEIGHT))
    write_image_file(wider, tmp_path / f"b.{ending}", source)
    with Image.open(tmp_path / f"b.{ending}") as again:
        exif = again.getexif()
        assert again.info["icc_profile"] == SRGB and exif[ExifTags.Base.Artist] == "somebody"
        details = exif.get_ifd(ExifTags.IFD.Exif)
        assert (
            details[ExifTags.Base.LensModel] == "a lens"
            and exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSMapDatum] == "WGS-84"
        )
        assert [details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight]] == [
            WIDTH + 8,
            HEIGHT,
        ]
        if ending not in ("webp", "avif"):
            assert [round(d) for d in again.info["dpi"]] == [300, 300]


def test_a_thumbnail_of_the_unedited_image_is_not_written_back(tmp_path):
    """An EXIF block with a preview in its second directory, as cameras write it."""
    preview = tmp_path / "preview.jpg"
    Image.new("RGB", (16, 16), (255, 0, 0)).save(preview)
    data = preview.read_bytes()
    first = struct.pack("<H", 1) + struct.pack("<HHII", 0x010F, 2, 4, int.from_bytes(b"abc\0", "little"))
    second_at = 8 + len(first) + 4
    second = struct.pack("<H", 2) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in ((0x0201, second_at + 2 + 24 + 4), (0x0202, len(data)))
    )
    exif = (
        b"Exif\0\0II*\0"
        + struct.pack("<I", 8)
        + first
        + struct.pack("<I", second_at)
        + second
        + struct.pack("<I", 0)
        + data
    )
    path = written(tmp_path / "a.jpg", Image.new("RGB", (32, 32)), exif=exif)
    assert data in path.read_bytes()
    source = open_image_file(path)
    write_image_file(source.image, tmp_path / "b.jpg", source)
    assert data not in (tmp_path / "b.jpg").read_bytes()
    assert Image.open(tmp_path / "b.jpg").getexif()[ExifTags.Base.Make] == "abc"


def test_a_profile_for_other_colours_is_left_out(tmp_path):
    """A CMYK profile would make nonsense of the RGB image that a PNG holds."""
    profile = bytearray(SRGB)
    profile[16:20] = b"CMYK"
    source = open_image_file(written(tmp_path / "a.tif", make_image("CMYK"), icc_profile=bytes(profile)))
    for name, kept in (("b.tif", bytes(profile)), ("c.png", None)):
        write_image_file(source.image, tmp_path / name, source)
        assert Image.open(tmp_path / name).info.get("icc_profile") == kept


def test_a_png_keeps_its_texts_and_what_its_colours_mean(tmp_path):
    info = PngInfo()
    info.add_text("Author", "Ünïcode")
    info.add_itxt("Title", "titre", "fr", "Titre")
    info.add_text("d3pm_image", '{"seed": 1}')
    info.add(b"gAMA", (45455).to_bytes(4, "big"))
    info.add(
        b"cHRM",
        b"".join(v.to_bytes(4, "big") for v in (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
    )
    source = open_image_file(written(tmp_path / "a.png", make_image("RGB"), pnginfo=info))
    write_image_file(source.image, tmp_path / "b.png", source, {"seed": 2})
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert (
            other.info["gamma"] == one.info["gamma"] == 0.45455
            and other.info["chromaticity"] == one.info["chromaticity"]
        )
        assert other.text == {**one.text, "d3pm_image": '{"seed": 2}'} and other.text["Title"].lang == "fr"
    source = open_image_file(
        written(
            tmp_path / "c.png", make_image("RGB"), pnginfo=(srgb := PngInfo(), srgb.add(b"sRGB", b"\1"))[0]
        )
    )
    write_image_file(source.image, tmp_path / "d.png", source)
    assert Image.open(tmp_path / "d.png").info["srgb"] == 1


def test_a_jpeg_is_written_with_its_own_tables(tmp_path):
    """So that blocks without paint come out as they went in, or nearly; the note says that they need not."""
    smooth = Image.fromarray(np.add.outer(np.arange(64), 2 * np.arange(64)).astype(np.uint8)).convert("RGB")
    source = open_image_file(
        written(tmp_path / "a.jpg", smooth, quality=60, subsampling=2, progressive=True, comment=b"hello")
    )
    weight = np.zeros((64, 64))
    weight[:16, :16] = 1
    note = write_image_file(
        paste(source.image, Image.new("RGB", (64, 64), "red"), weight), tmp_path / "b.jpg", source
    )
    assert note == "b.jpg: JPEG does not give back every pixel of this image as it was; PNG, TIFF and WebP do"
    with Image.open(tmp_path / "a.jpg") as one, Image.open(tmp_path / "b.jpg") as other:
        assert (
            one.quantization == other.quantization
            and other.info["progressive"]
            and other.info["comment"] == b"hello"
        )
        change = np.abs(np.asarray(one).astype(int) - np.asarray(other))
    assert change[32:, 32:].max() <= 2 and change[:12, :12].max() > 50


def test_a_tiff_keeps_its_compression_unless_that_loses_pixels(tmp_path):
    for compression, kept in (("tiff_lzw", "tiff_lzw"), ("raw", "raw"), ("jpeg", "tiff_adobe_deflate")):
        source = open_image_file(written(tmp_path / "a.tif", make_image("RGB"), compression=compression))
        assert write_image_file(source.image, tmp_path / "b.tif", source) is None
        assert Image.open(tmp_path / "b.tif").info["compression"] == kept


def test_a_tiff_in_tiles_loses_its_layout_and_not_its_words(tmp_path):
    tags = {270: "a description", 322: 16, 323: 16, 297: (0, 1)}
    source = open_image_file(written(tmp_path / "a.tif", make_image("RGB"), tiffinfo=tags))
    assert write_image_file(source.image, tmp_path / "b.tif", source) is None
    with Image.open(tmp_path / "b.tif") as again:
        assert again.tag_v2[270] == "a description" and not {322, 323, 297} & set(again.tag_v2)


# what of a file cannot be kept


def deep_png(colour: int, bands: int, bits: int = 16) -> tuple[bytes, np.ndarray]:
    """A PNG of random 16-bit levels, which Pillow cannot write, and those levels."""
    levels = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH * bands)).astype(">u2")

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in levels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""), levels


@pytest.mark.parametrize(("colour", "bands", "mode"), [(2, 3, "RGB"), (6, 4, "RGBA"), (0, 1, "I;16")])
def test_sixteen_bit_colour_is_read_with_its_upper_bits_and_says_so(tmp_path, colour, bands, mode):
    data, levels = deep_png(colour, bands)
    (tmp_path / "deep.png").write_bytes(data)
    source = open_image_file(tmp_path / "deep.png")
    assert source.image.mode == mode
    if bands == 1:
        assert not source.notes and np.array_equal(np.asarray(source.image), levels)
    else:
        assert source.notes == ("deep.png: 16-bit colour is read, and written, with its upper 8 bits",)
        assert np.array_equal(np.asarray(source.image).reshape(HEIGHT, -1), levels >> 8)


@pytest.mark.parametrize(
    ("ending", "word"), [("gif", "frames"), ("webp", "frames"), ("png", "frames"), ("tif", "pages")]
)
def test_the_first_frame_is_taken_and_a_note_says_so(tmp_path, ending, word):
    frames = [make_image("RGB", seed) for seed in range(3)]
    path = written(
        tmp_path / f"a.{ending}",
        frames[0],
        save_all=True,
        append_images=frames[1:],
        **(LOSSLESS if ending == "webp" else {}),
    )
    source = open_image_file(path)
    assert source.notes == (f"a.{ending}: the first of 3 {word} is used",)
    assert np.abs(np.asarray(source.image.convert("RGB")).astype(int) - np.asarray(frames[0])).mean() < (
        30 if ending == "gif" else 1e-9
    )
    write_image_file(source.image, tmp_path / f"b.{ending}", source)
    assert getattr(Image.open(tmp_path / f"b.{ending}"), "n_frames", 1) == 1


def test_absurd_sizes_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2_000_000)
    for side in (1500, 2100):  # Pillow warns of the first, and stops at the second
        written(tmp_path / "a.png", Image.new("1", (side, side)))
        with pytest.raises(
            ConfigError, match=r"^image='.*a\.png': holds more than 2 million pixels; make it smaller"
        ):
            open_image_file(tmp_path / "a.png")
    assert open_image_file(written(tmp_path / "b.png", Image.new("1", (1400, 1400)))).image.size == (
        1400,
        1400,
    )


def test_files_that_cannot_be_read_are_named(tmp_path):
    written(tmp_path / "cut.png", Image.effect_noise((64, 64), 50))
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"^mask='.*none\.png': no such file"):
        open_image_file(tmp_path / "none.png", "mask")
    for name in ("cut.png", "text.png", "empty.png", "."):
        with pytest.raises(ConfigError, match=r"^image='.*': not a readable image \(\w+: "):
            open_image_file(tmp_path / name)


# where results go
