"""Colour profiles when editing: the model sees sRGB, the image keeps its own colours and profile."""

from __future__ import annotations

import io

import numpy as np
import pytest
from helpers import odd_files as odd
from PIL import Image, ImageCms

from d3pm_image.editing.canvas import convert_for, make_canvas
from d3pm_image.editing.image_files.files import open_image_file, write_image_file
from d3pm_image.editing.image_files.image import paste
from d3pm_image.editing.regions import Region
from d3pm_image.imaging import to_pil
from d3pm_image.pipeline import Pipeline

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BOX = np.zeros((48, 64), bool)
BOX[16:32, 16:40] = True


def with_profile(profile: bytes | None, mode: str = "RGB") -> Image.Image:
    image = odd.smooth().convert(mode)
    if profile:
        image.info["icc_profile"] = profile
    return image


def reference(image: Image.Image, profile: bytes, mode: str) -> np.ndarray:
    """The image in sRGB by Pillow."""
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(
        ImageCms.profileToProfile(image.convert(mode), own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    )


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("RGB", False), ("RGBA", False), ("P", False), ("L", True), ("LA", True), ("RGB", True)],
)
def test_the_model_sees_srgb(mode, grey):
    profile = odd.profile(1.8, grey)
    image = with_profile(profile, mode)
    plain = image.convert("L" if mode in ("L", "LA") else "RGB")
    fits = grey == (mode in ("L", "LA"))  # a profile of greys says nothing of colours
    expected = reference(image, profile, plain.mode) if fits else np.asarray(plain.convert("RGB"))
    seen = make_canvas(image, np.zeros((48, 64), bool), Region((0, 48), (0, 64), (48, 64), (48, 64)), 3)
    assert np.array_equal(np.asarray(to_pil(seen.pixels[None])[0]), expected)
    assert np.array_equal(np.asarray(convert_for(image, 3, (48, 64))), expected)
    assert not fits or np.abs(expected.astype(int) - np.asarray(plain.convert("RGB"))).max() > 10


@pytest.mark.parametrize(
    "profile", [SRGB, b"damaged", odd.profile()[:200], b""], ids=["sRGB", "junk", "cut", "none"]
)
def test_without_another_profile_nothing_changes(profile):
    image = with_profile(profile)
    assert np.array_equal(np.asarray(convert_for(image, 3, (48, 64))), np.asarray(odd.smooth()))


@pytest.mark.parametrize(("mode", "grey"), [("RGB", False), ("RGBA", False), ("L", True)])
def test_a_painting_of_what_the_model_saw_has_the_images_own_colours(mode, grey):
    from d3pm_image.editing.image_files.image import in_own_colours

    image = with_profile(odd.profile(1.8, grey), mode)
    painted = convert_for(image, 3, (48, 64))
    result = paste(image, in_own_colours(painted, image), BOX.astype(float))
    before, after = np.asarray(image).astype(int), np.asarray(result).astype(int)
    assert np.array_equal(before[~BOX], after[~BOX])
    inside = np.abs(before - after)[BOX]
    assert np.quantile(inside, 0.9) <= 4, "up to colours that sRGB does not have"
    assert (
        np.abs(before - np.asarray(paste(image, painted, BOX.astype(float))))[BOX].mean() > inside.mean() + 1
    )


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_an_edited_file_keeps_its_profile_and_known_pixels(tmp_path, ending):
    profile = odd.profile(1.8)
    odd.smooth().save(
        tmp_path / f"a.{ending}", icc_profile=profile, **({"lossless": True} if ending == "webp" else {})
    )
    source = open_image_file(tmp_path / f"a.{ending}")
    pipe = Pipeline.from_pretrained("eurosat")
    result = pipe.inpaint(source.image, BOX, steps=1)[0] if ending == "png" else source.image
    write_image_file(result, tmp_path / f"b.{ending}", source)
    with Image.open(tmp_path / f"b.{ending}") as again:
        assert again.info["icc_profile"] == profile
        if ending == "png":
            assert np.array_equal(np.asarray(again)[~BOX], np.asarray(source.image)[~BOX])


def test_the_same_colours_in_another_profile_are_painted_alike():
    """An image and its copy in a wider space: the model sees the same, so what it paints has the same colours."""
    pipe, profile = Pipeline.from_pretrained("eurosat"), odd.profile(2.2)
    own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    image = odd.smooth().point(lambda level: 60 + level // 2)  # inside both spaces
    wide = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), own, outputMode="RGB")
    wide.info["icc_profile"] = profile
    one, other = (pipe.inpaint(i, BOX, steps=1, seed=3)[0] for i in (image, wide))
    back = reference(other, profile, "RGB").astype(int)
    assert (
        np.abs(np.asarray(one).astype(int) - back)[BOX].mean()
        < np.abs(np.asarray(one).astype(int) - np.asarray(other))[BOX].mean()
    )
    assert np.abs(np.asarray(one).astype(int) - back)[BOX].mean() < 6
