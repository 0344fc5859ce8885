"""Prints with a profile of their inks: training and the model see sRGB, and edits keep inks and profile."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers import odd_files as odd
from helpers.cmyk import cmyk_profile
from PIL import Image, ImageCms

from d3pm_image.data.colour import image_in_srgb, is_foreign
from d3pm_image.editing.canvas import convert_for
from d3pm_image.editing.image_files.files import open_image_file, write_image_file
from d3pm_image.editing.image_files.image import in_own_colours, paste
from d3pm_image.image_io import open_image

SRGB = ImageCms.createProfile("sRGB")


def print_of(profile: bytes | None = None) -> Image.Image:
    """A CMYK image whose colours fill the square of two inks."""
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    cyan, yellow = np.meshgrid(np.resize(ramp, 64), ramp)
    image = Image.fromarray(np.stack([cyan, yellow[:, ::-1], cyan[::-1], np.full_like(cyan, 20)], -1), "CMYK")
    if profile:
        image.info["icc_profile"] = profile
    return image


def in_srgb(image: Image.Image) -> np.ndarray:
    own = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
    return np.asarray(ImageCms.profileToProfile(image, own, SRGB, outputMode="RGB")).astype(int)


def test_the_profile_is_one():
    """Its colours differ from the plain rule of Pillow, and the way back leads near."""
    expected, plain = in_srgb(print_of()), np.asarray(print_of().convert("RGB")).astype(int)
    assert np.abs(expected - plain).mean() > 8
    own = ImageCms.ImageCmsProfile(io.BytesIO(cmyk_profile()))
    soft = odd.smooth().resize((64, 48)).point(lambda level: 60 + level // 2)
    back = ImageCms.profileToProfile(soft, SRGB, own, outputMode="CMYK")
    assert np.abs(in_srgb(back) - np.asarray(soft).astype(int)).mean() < 12


@pytest.mark.parametrize("ending", ["tif", "jpg"])
def test_training_sees_the_colours_of_the_print(tmp_path, ending):
    place = tmp_path / f"print.{ending}"
    print_of().save(
        place, icc_profile=cmyk_profile(), **({"quality": 100, "subsampling": 0} if ending == "jpg" else {})
    )
    with open_image(place) as image:
        assert is_foreign(image)
        seen = np.asarray(image_in_srgb(image).convert("RGB")).astype(int)
    assert np.abs(seen - in_srgb(print_of())).mean() < (0.01 if ending == "tif" else 2)


def test_the_model_sees_them_too_and_an_edit_keeps_inks_and_profile(tmp_path):
    image = print_of(cmyk_profile())
    assert np.array_equal(np.asarray(convert_for(image, 3, (48, 64))), in_srgb(image))
    image.save(tmp_path / "print.tif", icc_profile=cmyk_profile())
    source = open_image_file(tmp_path / "print.tif")
    weight = np.zeros((48, 64))
    weight[16:32, 16:40] = 1
    colour = (150, 120, 180)
    edited = paste(source.image, in_own_colours(Image.new("RGB", (64, 48), colour), source.image), weight)
    write_image_file(edited, tmp_path / "edited.tif", source)
    with Image.open(tmp_path / "edited.tif") as result:
        assert result.mode == "CMYK" and result.info["icc_profile"] == cmyk_profile()
        inks = np.asarray(result)
    known = weight == 0
    assert np.array_equal(inks[known], np.asarray(print_of())[known])
    painted = in_srgb(Image.fromarray(inks, "CMYK"))[20:28, 20:36]
    assert np.abs(painted - colour).max() < 14, painted[0, 0]
    plain = in_srgb(Image.new("RGB", (8, 8), colour).convert("CMYK"))
    assert np.abs(plain - colour).max() > 20  # without the profile it would be another colour
