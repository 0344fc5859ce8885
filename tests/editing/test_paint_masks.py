"""Masks as paint programs write them: layers with transparency, any mode, masks of 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from d3pm_image.config import ConfigError
from d3pm_image.editing.masks import as_mask

IMAGE = Image.new("RGB", (32, 24))
STROKE = np.zeros((24, 32), bool)
STROKE[6:12, 8:20] = True


def layer(under: tuple, stroke: tuple, mode: str = "RGBA") -> Image.Image:
    """An image of one colour with a stroke of another, in mode RGBA and then in ``mode``."""
    array = np.where(STROKE[..., None], np.array(stroke, np.uint8), np.array(under, np.uint8))
    return Image.fromarray(array).convert(mode)


@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 0, 255), (255, 255, 0), (0, 0, 0), (255, 255, 255), (90, 90, 90)]
)
@pytest.mark.parametrize("under", [(255, 255, 255, 0), (0, 0, 0, 0), (7, 99, 200, 0)])
def test_a_stroke_on_a_transparent_layer_is_what_is_repainted(colour, under):
    assert np.array_equal(as_mask(layer(under, (*colour, 255)), IMAGE), STROKE)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBa"])
def test_transparent_colours_do_not_count_in_any_mode(mode):
    mask = layer((255, 255, 255, 0), (0, 0, 0, 255), "LA" if mode in ("LA", "La") else "RGBA")
    mask = mask.convert(mode) if mode != "PA" else mask.convert("RGB").convert("P").convert("PA")
    if mode == "PA":
        mask.putalpha(Image.fromarray((STROKE * 255).astype(np.uint8)))
    assert mask.mode == mode and np.array_equal(as_mask(mask, IMAGE), STROKE)


@pytest.mark.parametrize("transparency", [0, b"\0\xff"], ids=["index", "bytes"])
def test_transparent_entries_of_a_palette_do_not_count(transparency):
    mask = Image.frombytes("P", IMAGE.size, STROKE.astype(np.uint8).tobytes())
    mask.putpalette([255, 255, 255, 200, 0, 0])
    mask.info["transparency"] = transparency
    assert np.array_equal(as_mask(mask, IMAGE), STROKE)


def test_strokes_of_several_colours_count_all():
    mask = layer((255, 255, 255, 0), (255, 0, 0, 255))
    ImageDraw.Draw(mask).rectangle((0, 20, 5, 22), fill=(255, 255, 0, 255))
    expected = STROKE.copy()
    expected[20:23, :6] = True
    assert np.array_equal(as_mask(mask, IMAGE), expected)


def test_black_and_white_in_a_layer_stay_black_and_white():
    """White on black, as masks are, with a transparent border: the border does not count, and black is kept."""
    mask = layer((0, 0, 0, 255), (255, 255, 255, 255))
    mask.paste((255, 255, 255, 0), (0, 0, 32, 3))
    assert np.array_equal(as_mask(mask, IMAGE), STROKE)


def test_a_soft_brush_counts_from_half_of_its_opacity():
    alpha = (
        Image.fromarray((STROKE * 255).astype(np.uint8))
        .resize((320, 240))
        .resize((32, 24), Image.Resampling.BICUBIC)
    )
    mask = Image.new("RGBA", IMAGE.size, (255, 255, 255, 0))
    soft = np.asarray(alpha.point(lambda level: level * 3 // 4))
    mask = Image.fromarray(
        np.concatenate(
            [np.where(soft[..., None] > 0, np.array([200, 30, 30]), 255), soft[..., None]], -1
        ).astype(np.uint8)
    )
    assert np.array_equal(as_mask(mask, IMAGE), soft >= 128) and STROKE[soft >= 128].all()


@pytest.mark.parametrize("mode", ["LAB", "HSV", "YCbCr", "CMYK", "I", "F", "I;16", "1", "L", "P"])
def test_white_on_black_is_a_mask_in_every_mode(mode):
    grey = Image.fromarray((STROKE * 255).astype(np.uint8))
    if mode == "I;16":
        mask = Image.fromarray(STROKE.astype(np.uint16) * 65535)
    elif mode == "LAB":
        mask = Image.merge("LAB", [grey, *[Image.new("L", IMAGE.size, 128)] * 2])
    else:
        mask = (grey.convert("RGB") if mode in ("HSV", "YCbCr", "CMYK") else grey).convert(mode)
    assert mask.mode == mode and np.array_equal(as_mask(mask, IMAGE), STROKE)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I", "I;16", "F", "RGBA", "LA"])
def test_masks_of_zeros_and_ones_are_masks(mode):
    grey = Image.fromarray(STROKE.astype(np.uint16 if mode == "I;16" else np.uint8))
    mask = grey if mode in ("L", "I;16") else grey.convert(mode)
    assert np.array_equal(as_mask(mask, IMAGE), STROKE)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_levels_of_eight_bits_in_a_deeper_mask_are_levels_of_eight_bits(kind):
    levels = np.where(STROKE, 255, 9).astype(kind)
    assert np.array_equal(as_mask(Image.fromarray(levels), IMAGE), STROKE) and np.array_equal(
        as_mask(levels, IMAGE), STROKE
    )


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Image.fromarray((STROKE * 100).astype(np.uint8)), "100 of 255"),
        (Image.fromarray(STROKE.astype(np.uint16) * 4095), "4095 of 65535"),
        (Image.new("RGB", IMAGE.size, (128, 0, 0)), "38 of 255"),
        (Image.fromarray((STROKE * 0.4).astype(np.float32)), "0.4 of 1"),
        ((STROKE * 0.4).astype(np.float64), "0.4 of 1"),
        ((STROKE * 2).astype(np.uint8), "2 of 255"),
        (Image.new("RGBA", IMAGE.size, (255, 255, 255, 0)), "transparent everywhere"),
    ],
)
def test_a_mask_that_is_not_black_and_marks_nothing_says_why(mask, words):
    with pytest.raises(ConfigError, match=f"^mask='.*{words}") as raised:
        as_mask(mask, IMAGE)
    assert "\n" not in str(raised.value)


def test_one_pixel_and_all_pixels_are_masks_and_black_marks_nothing():
    one = np.zeros((24, 32), bool)
    one[3, 5] = True
    for expected in (one, ~one, np.ones_like(one), np.zeros_like(one)):
        mask = Image.fromarray((expected * 255).astype(np.uint8))
        assert np.array_equal(as_mask(mask, IMAGE), expected)
        assert np.array_equal(as_mask(mask.convert("RGBA"), IMAGE), expected)


def test_a_transparent_level_of_a_deep_mask_does_not_count():
    mask = Image.fromarray(np.where(STROKE, 60_000, 65535).astype(np.uint16))
    mask.info["transparency"] = 65535
    assert np.array_equal(as_mask(mask, IMAGE), STROKE)
