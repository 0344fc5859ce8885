"""Levels and images: alpha is premultiplied between the parts of the package and straight in files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import odd_files as odd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from d3pm_image.imaging import on_chequerboard, plain, plain_srgb, to_pil, to_tensor
from d3pm_image.pixel_range import from_levels, over, premultiplied, settled_alpha, straight, to_levels


def every_pair(channels: int) -> torch.Tensor:
    """All pairs of a colour level and an alpha, (1, C, 256, 256)."""
    colour, alpha = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    return torch.stack([*[colour] * (channels - 1), alpha]).to(torch.uint8)[None]


@pytest.mark.parametrize("channels", [2, 4])
def test_levels_come_back_and_hidden_colour_as_zero(channels):
    levels = every_pair(channels)
    found = to_levels(from_levels(levels))
    assert torch.equal(found, torch.where(levels[:, -1:] == 0, 0, levels))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_without_alpha_are_levels_over_255(channels):
    levels = torch.randint(256, (2, channels, 5, 7), dtype=torch.uint8)
    images = levels.float() / 255
    assert torch.equal(from_levels(levels), images) and torch.equal(to_levels(images), levels)
    assert premultiplied(images) is images and straight(images) is images and over(images, 0.3) is images


def test_rows_of_pixels_are_no_images():
    rows = torch.randint(256, (4, 10), dtype=torch.uint8)
    assert torch.equal(from_levels(rows), rows.float() / 255)


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.float32, (1, 4, 3, 3), elements=st.floats(0, 1, width=32)))
def test_levels_over_black_and_white_are_what_the_image_says(values):
    """No fringes: all that differs is rounding, half a level each of colour and alpha."""
    images = torch.from_numpy(values)
    images[:, :3] = torch.minimum(images[:, :3], images[:, 3:])
    for level in (0.0, 0.5, 1.0):
        seen = over(from_levels(to_levels(images)), level)
        assert float((seen - over(images, level)).abs().max()) <= 1.01 / 255


def test_colour_above_alpha_is_cut():
    image = torch.tensor([0.9, 0.5, 0.2, 0.5]).view(1, 4, 1, 1)
    assert to_levels(image).flatten().tolist() == [255, 255, 102, 128]


def test_premultiplied_and_straight_are_inverse():
    images = torch.rand(2, 4, 5, 5).clamp_min(0.05)
    assert torch.allclose(straight(premultiplied(images)), images, atol=1e-6)


# Pillow


def rgba(width: int = 6, height: int = 5, seed: int = 0) -> Image.Image:
    """Random colour and alpha, garbage under alpha 0 in the left half."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[:, : width // 2, 3] = 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize("channels, mode", [(2, "LA"), (4, "RGBA")])
def test_images_with_alpha_survive_pillow(channels, mode):
    image = plain(rgba(), channels)
    assert image.mode == mode
    tensor = to_tensor(image)
    assert tensor.shape == (channels, 5, 6) and not tensor[:, :, :3].any()
    (back,) = to_pil(tensor[None])
    assert back.mode == mode
    visible = np.asarray(image)[..., -1] > 0
    assert np.array_equal(np.asarray(back)[visible], np.asarray(image)[visible])


def with_key(mode: str, transparent: int | tuple[int, ...]) -> Image.Image:
    """Two pixels, of which the first is the transparent colour or entry."""
    image = Image.new(mode, (2, 1))
    image.info["transparency"] = transparent
    if mode == "P":
        image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), (40, 50, 60) if mode == "RGB" else 1)
    return image


@pytest.mark.parametrize("mode, key", [("P", 0), ("RGB", (0, 0, 0)), ("L", 0), ("I;16", 0)])
def test_transparent_colours_and_entries_become_alpha(mode, key):
    image = with_key(mode, key)
    for channels in (2, 4):
        assert [int(p[-1]) for p in np.asarray(plain(image, channels))[0]] == [0, 255]
    if mode in ("P", "RGB"):
        assert np.asarray(plain(image, 4))[0, 1].tolist() == [40, 50, 60, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
def test_images_without_transparency_are_opaque(mode):
    image = Image.new(mode, (3, 2))
    for channels, own in ((2, "LA"), (4, "RGBA")):
        found = plain(image, channels)
        assert found.mode == own and (np.asarray(found)[..., -1] == 255).all()


def test_a_colour_profile_leaves_alpha_as_it_is():
    image, profile = rgba(), odd.profile(1.8)
    image.info["icc_profile"] = profile
    found = np.asarray(plain_srgb(image, 4))
    assert np.array_equal(found[..., 3], np.asarray(image)[..., 3])
    flat = image.convert("RGB")
    flat.info["icc_profile"] = profile
    assert np.array_equal(found[..., :3], np.asarray(plain_srgb(flat, 3)))
    assert not np.array_equal(found[..., :3], np.asarray(flat))


def test_the_chequerboard_shows_through():
    clear = Image.new("RGBA", (20, 20), (9, 9, 9, 0))
    clear.putpixel((0, 0), (1, 2, 3, 255))
    shown = np.asarray(on_chequerboard(clear))
    assert shown[0, 0].tolist() == [1, 2, 3]
    assert {tuple(p) for p in shown.reshape(-1, 3)[1:].tolist()} == {(204,) * 3, (255,) * 3}
    opaque = Image.new("RGB", (2, 2))
    assert on_chequerboard(opaque) is opaque


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_nearly_clear_is_clear_and_nearly_opaque_opaque(channels):
    images = torch.rand(3, channels, 5, 5, generator=torch.Generator().manual_seed(0))
    settled = settled_alpha(images)
    if channels in (1, 3):
        assert torch.equal(settled, images)
        return
    given, alpha = images[:, -1], settled[:, -1]
    assert (alpha[given < 0.045] == 0).all() and (alpha[given > 0.955] == 1).all()
    assert torch.allclose(settled_alpha(torch.full((1, channels, 2, 2), 0.5)), torch.tensor(0.5))
    assert float((alpha - given).abs().max()) < 0.051 and float((alpha - given).sign().unique().numel()) > 1
    assert (settled[:, :-1] <= settled[:, -1:]).all()
    kept = images[:, :-1] <= settled[:, -1:]
    assert torch.equal(settled[:, :-1][kept], images[:, :-1][kept])
