"""One level of white for a whole data set, and colours in sRGB whatever profile an image has."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import images
from helpers.levels import brightest, levels, opened
from PIL import Image, ImageCms

from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.codes import cache_key
from d3pm_image.data.images import ImageSet
from d3pm_image.data.packing import pack
from d3pm_image.data.sources import folder, open_source
from d3pm_image.diagnostics import examine_images
from d3pm_image.recipes.images import open_images


@pytest.mark.parametrize(
    "kind, tops, white",
    [
        (np.float32, [1.0, 0.5, 1.0001, 1.0], 1),
        (np.float32, [0.2, 0.3, 0.1, 0.3], 1),
        (np.float32, [255.0, 40.0, 0.9, 254.0], 255),
        (np.float32, [12.7, 12.0, 3.0, 12.7], 12.7),
        (np.float32, [65535.0, 60000.0, 1.0, 300.0], 65535),
        (np.uint16, [4095, 4000, 900, 17], 4095),
        (np.uint16, [1023, 1023, 5, 900], 1023),
        (np.uint16, [65535, 20000, 4095, 900], 65535),
        (np.uint16, [16383, 255, 255, 16000], 16383),
        (np.int32, [4095, 4000, 900, 17], 4095),
    ],
)
def test_white_is_one_level_for_all(tmp_path, kind, tops, white):
    data, found = opened(levels(tmp_path, kind, *tops))
    assert data.white == pytest.approx(white, rel=0.01)
    assert brightest(found) == pytest.approx([min(255, top / data.white * 255) for top in tops], abs=1)


@pytest.mark.parametrize("kind, hot", [(np.float32, 1000.0), (np.uint16, 65535)])
def test_hot_pixels_do_not_change_it(tmp_path, kind, hot):
    root = levels(tmp_path, kind, *[1.0 if kind is np.float32 else 4095] * 6)
    values = np.array(Image.open(root / "3.tif"))
    values[5, 5] = hot
    Image.fromarray(values).save(root / "3.tif")
    assert opened(root)[0].white == (1 if kind is np.float32 else 4095)


def test_nan_and_infinity_do_not_count(tmp_path):
    root = levels(tmp_path, np.float32, 1.0, 1.0, 1.0)
    values = np.array(Image.open(root / "1.tif"))
    values[0, :4] = np.nan, np.inf, -np.inf, np.nan
    Image.fromarray(values).save(root / "1.tif")
    assert opened(root)[0].white == 1


def test_a_set_of_eight_bits_has_no_white(tmp_path):
    data, found = opened(images(tmp_path, *(f"{i}.png" for i in range(4))))
    assert data.white == 0 and found.preparation() == {}


def test_two_scales_in_one_set_are_refused(tmp_path):
    levels(tmp_path, np.float32, 1.0, 1.0)
    for i in range(2):
        Image.fromarray(np.full((16, 16), 4000, np.uint16)).save(tmp_path / f"w{i}.png")
    with pytest.raises(ConfigError, match=r"data\.white=0\.0: white is 4095 .* and 1 "):
        opened(tmp_path)
    assert "two_scales" in {finding.name for finding in examine_images(tmp_path)}


def test_caches_of_before_stay_where_the_pixels_are_the_same(tmp_path):
    """Keys as version 0.1 computed them; another where the pixels differ."""
    import hashlib
    import json

    def before(found: ImageSet) -> str:
        prepared = {"size": [16, 16], "channels": 1, "crop": "center", "flip": False}
        parts = {"tokenizer": "t", "data": found.source.fingerprint, "prepared": prepared,
                 "named": {"labels": None, "classes": []}, "format": 2}  # fmt: skip
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]

    same = {}
    for name, kind, top in (("full", np.uint16, 65535), ("twelve", np.uint16, 4095)):
        _, found = opened(levels(tmp_path / name, kind, *[top] * 4))
        same[name] = cache_key("t", found) == before(found)
    _, eight = opened(images(tmp_path / "eight", *(f"{i}.png" for i in range(4))))
    assert same == {"full": True, "twelve": False} and cache_key("t", eight) == before(eight)


def test_doctor_says_where_white_is_and_what_does_not_fit(tmp_path):
    found = lambda root: {f.name: f.text for f in examine_images(root)}  # noqa: E731
    assert "white is taken to be 4095" in found(levels(tmp_path / "a", np.uint16, *[4095] * 4))["levels"]
    assert "0.tif" in found(levels(tmp_path / "b", np.float32, 1.0, 255.0, 250.0, 255.0))["other_scale"]
    assert (
        "4 images have levels below 0"
        in found(levels(tmp_path / "c", np.float32, *[1.0] * 4, low=-1.0))["negative"]
    )


def test_packing_keeps_the_levels_of_floating_point(tmp_path, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_CACHE", str(tmp_path / "cache"))
    root = levels(tmp_path / "in", np.float32, 1.0, 0.5, 0.25)
    source = folder(root)
    shown = [np.asarray(source.load(i)) for i in range(3)]

    class Bare:  # a source without files
        def __call__(self, index: int) -> Image.Image:
            return Image.fromarray(shown[index])

    pack(replace(source, load=Bare()), tmp_path / "out", 9, quiet=True)
    again = open_source(DataConfig(root=str(tmp_path / "out"), image_size=16, channels=1, val_share=0.3))
    assert max(float(np.asarray(again.load(i)).max()) for i in range(2)) <= 1.0 and again.load(0).mode == "F"


def test_editing_reads_and_writes_levels_as_training_did():
    """A 12-bit image in 16 bits, under a model that was trained with white at 4095: bright for the model, and repainted in 12 bits."""
    from d3pm_image.imaging import full_level, plain, with_white

    for kind in (np.uint16, np.float32, np.int32):
        image = with_white(Image.fromarray(np.full((8, 8), 4095, kind)), 4095)
        assert np.asarray(plain(image, 1)).min() == 255 and full_level(image.crop((0, 0, 4, 4))) == 4095
    grey = Image.new("L", (8, 8), 90)
    assert with_white(grey, 4095) is grey


# colour profiles


def profile(kind: str) -> bytes:
    """Built from tags: Pillow makes sRGB, LAB and XYZ only; a matrix profile is changed by its numbers."""
    import struct

    def text(value: str) -> bytes:
        data = value.encode("utf-16-be")
        return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    def gamma(value: float) -> bytes:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"

    tags = {b"desc": text(kind), b"cprt": text("none"), b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    space = b"GRAY" if kind.startswith("grey") else b"RGB "
    if space == b"GRAY":
        tags |= {b"kTRC": gamma(1.0)}
    else:  # Display P3's primaries, adapted to D50
        tags |= {
            b"rXYZ": xyz(0.51512, 0.2412, -0.00105),
            b"gXYZ": xyz(0.29198, 0.69225, 0.04189),
            b"bXYZ": xyz(0.1571, 0.06657, 0.78407),
        }
        tags |= {name: gamma(2.2) for name in (b"rTRC", b"gTRC", b"bTRC")}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += struct.pack(">4sII", name, at + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s12x4s4sI4s4s8xI3i4s44x", at + len(body), b"lcms", 0x04300000, b"mntr", space, b"XYZ ", b"acsp",
                       b"\0\0\0\0", 0, b"\0\0\0\0", b"\0\0\0\0", 0, 63190, 65536, 54061, b"lcms")  # fmt: skip
    return head + table + body


P3, GREY = profile("P3-like"), profile("grey linear")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BROKEN = P3[:140] + b"\xff" * 200


def trained_on(
    tmp_path: Path, icc: bytes | None, mode: str = "RGB", ending: str = "png", channels: int = 3
) -> np.ndarray:
    colour = Image.new("RGB", (16, 16), (200, 60, 40)).convert(mode)
    for i in range(3):
        colour.save(tmp_path / f"{i}.{ending}", **({"icc_profile": icc} if icc else {}))
    found = ImageSet(folder(tmp_path), DataConfig(root=str(tmp_path), image_size=16, channels=channels))
    return found.pixels[0, :, 5, 5].numpy().astype(int)


@pytest.mark.parametrize(
    "ending, mode", [("png", "RGB"), ("jpg", "RGB"), ("tif", "RGBA"), ("webp", "RGB"), ("png", "P")]
)
def test_profiles_are_converted_to_srgb(tmp_path, ending, mode):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, moved = (
        trained_on(tmp_path / "a", None, mode, ending),
        trained_on(tmp_path / "b", P3, mode, ending),
    )
    expected = ImageCms.profileToProfile(Image.new("RGB", (1, 1), tuple(plain.tolist())), ImageCms.ImageCmsProfile(io.BytesIO(P3)),
                                         ImageCms.createProfile("sRGB")).getpixel((0, 0))  # fmt: skip
    assert np.abs(moved - expected).max() <= 3 and np.abs(moved - plain).max() >= 8


@pytest.mark.parametrize("icc", [SRGB, None], ids=["srgb", "none"])
def test_srgb_changes_nothing(tmp_path, icc):
    assert trained_on(tmp_path, icc).tolist() == [200, 60, 40]
    found = ImageSet(folder(tmp_path), DataConfig(root=str(tmp_path), image_size=16, channels=3))
    assert found.preparation() == {}


def test_a_grey_profile_is_converted(tmp_path):
    """Linear grey: half the light is 188 in sRGB."""
    Image.new("L", (16, 16), 128).save(tmp_path / "0.png", icc_profile=GREY)
    found = ImageSet(folder(tmp_path), DataConfig(root=str(tmp_path), image_size=16, channels=1))
    assert int(found.pixels[0, 0, 0, 0]) == pytest.approx(188, abs=2) and found.preparation() == {
        "colour": "sRGB"
    }


def test_broken_profiles_and_those_of_other_images_are_ignored_with_a_note(tmp_path):
    for name, icc in (("a", BROKEN), ("b", b"nonsense" * 40)):
        (tmp_path / name).mkdir()
        with pytest.warns(UserWarning, match="colour profile is broken"):
            assert trained_on(tmp_path / name, icc).tolist() == [200, 60, 40]
    (tmp_path / "c").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert trained_on(tmp_path / "c", GREY).tolist() == [200, 60, 40]


def test_transparent_pixels_are_white_with_a_profile_too(tmp_path):
    Image.new("RGBA", (16, 16), (200, 60, 40, 0)).save(tmp_path / "0.png", icc_profile=P3)
    found = ImageSet(folder(tmp_path), DataConfig(root=str(tmp_path), image_size=16, channels=3))
    assert (found.pixels == 255).all()


def test_doctor_and_the_first_line_name_profiles(tmp_path, capsys):
    images(tmp_path, *(f"{i}.png" for i in range(9)))
    for i in range(2):
        Image.new("RGB", (16, 16), (200, 60, i)).save(tmp_path / f"p{i}.png", icc_profile=P3)
    assert "2 images have a colour profile" in next(
        f.text for f in examine_images(tmp_path) if f.name == "profiles"
    )
    open_images(DataConfig(root=str(tmp_path), image_size=16, channels=3))
    assert "with a colour profile other than sRGB" in capsys.readouterr().out
