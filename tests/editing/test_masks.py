"""Which pixels are repainted, by images, arrays, boxes, polygons and transparency."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.masks import Box, Polygon, as_mask, combine

SIX = Image.new("L", (3, 2))
RIGHT = [[False, True, True], [False, False, True]]


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P", "CMYK"])
def test_white_is_repainted_in_every_mode(mode):
    grey = Image.fromarray(np.array([[0, 255, 255], [0, 0, 255]], np.uint8))
    if mode == "CMYK":
        grey = grey.convert("RGB")
    assert as_mask(grey.convert(mode), SIX).tolist() == RIGHT


@pytest.mark.parametrize(
    "levels",
    [
        np.array([[127, 128, 255], [0, 1, 200]], np.uint8),
        np.array([[300, 32768, 65535], [0, 32767, 40000]], np.uint16),
        np.array([[300, 32768, 65535], [0, 32767, 40000]], np.int32),
        np.array([[0.49, 0.5, 1], [0, 0.1, 0.7]], np.float32),
        np.array([[127, 128, 255], [0, 1, 200]], np.float32),
    ],
)
def test_the_threshold_is_half_in_images_and_arrays(levels):
    assert as_mask(Image.fromarray(levels), SIX).tolist() == RIGHT
    assert as_mask(levels, SIX).tolist() == RIGHT


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float64])
def test_arrays_of_zeros_and_ones_are_masks(kind):
    assert as_mask(np.array(RIGHT, kind), SIX).tolist() == RIGHT


def test_a_mask_is_a_copy():
    given = np.array(RIGHT)
    as_mask(given, SIX)[:] = False
    assert given.tolist() == RIGHT


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_drawn_in_transparency_alone_is_its_opaque_part(mode):
    mask = Image.new(mode, (3, 2), 0)
    mask.putalpha(Image.fromarray(np.array([[0, 255, 200], [0, 0, 255]], np.uint8)))
    assert as_mask(mask, SIX).tolist() == RIGHT


def seen_through(mode: str) -> Image.Image:
    """An image of a mode that is transparent where RIGHT says so."""
    clear = np.array(RIGHT)
    if mode in ("L+", "I;16"):
        image = Image.fromarray(np.where(clear, 7, 9).astype(np.uint8 if mode == "L+" else np.uint16))
        image.info["transparency"] = 7
        return image
    if mode.startswith("P"):
        image = (
            Image.fromarray(clear.astype(np.uint8)).convert("P")
            if mode == "PA"
            else Image.frombytes("P", (3, 2), clear.tobytes())
        )
        image.putpalette([9, 9, 9, 80, 80, 80])
        if mode == "PA":
            image.putalpha(Image.fromarray((~clear * 255).astype(np.uint8)))
        else:
            image.info["transparency"] = 1 if mode == "P" else b"\xff\x20"
        return image
    alpha = np.where(clear, 127, 128).astype(np.uint8)
    image = Image.fromarray(np.stack([np.full((2, 3), 50, np.uint8)] * (len(mode) - 1) + [alpha], -1))
    return image


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "P of bytes", "PA", "L+", "I;16"])
def test_alpha_repaints_what_is_less_than_half_opaque(mode):
    assert as_mask("alpha", seen_through(mode)).tolist() == RIGHT


def test_alpha_needs_transparency_and_other_words_are_refused():
    with pytest.raises(ConfigError, match=r"mask='alpha': the image \(mode L\) has no transparency"):
        as_mask("alpha", SIX)
    with pytest.raises(ConfigError, match=r"mask='mask\.png': give an image"):
        as_mask("mask.png", SIX)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ConfigError, match=r"mask=\(2, 3\): must have the image's size 3x2"):
        as_mask(Image.new("L", (2, 3)), SIX)
    for array in (np.zeros((3, 2), bool), np.zeros((2, 3, 3)), np.zeros(6)):
        with pytest.raises(ConfigError, match=r"must have the image's shape \(2, 3\)"):
            as_mask(array, SIX)
    for array in (np.full((2, 3), np.nan), np.full((2, 3), "white")):
        with pytest.raises(ConfigError, match=r"mask="):
            as_mask(array, SIX)


TEN = Image.new("L", (10, 8))


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("2,3,4,2", (2, 6), (3, 5)),
        (" 0, 0, 1 ,1 ", (0, 1), (0, 1)),
        ("-5,-5,7,6", (0, 2), (0, 1)),
        ("9,7,100,100", (9, 10), (7, 8)),
    ],
)
def test_a_box_is_its_pixels_inside_the_image(text, columns, rows):
    expected = np.zeros((8, 10), bool)
    expected[slice(*rows), slice(*columns)] = True
    assert np.array_equal(as_mask(Box.parse(text), TEN), expected)


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1,2,3,-4", "1,2,0,4", "1 2 3 4", "1,2,3,99999999"],
)
def test_bad_boxes_are_named(text):
    with pytest.raises(ConfigError, match=r"^box=.*(whole pixels|1 pixel or more)"):
        Box.parse(text)


@pytest.mark.parametrize("box", ["10,0,5,5", "0,8,5,5", "-5,0,5,5", "0,-9,5,9"])
def test_a_box_outside_the_image_is_an_error(box):
    with pytest.raises(ConfigError, match=rf"^box='{box}': lies outside the image, which is 10x8 pixels"):
        as_mask(Box.parse(box), TEN)


def test_a_polygon_holds_its_outline_and_what_is_inside():
    square = as_mask(Polygon.parse("2,1 6,1 6,4 2,4"), TEN)
    assert np.array_equal(square, as_mask(Box(2, 1, 5, 4), TEN))
    triangle = as_mask(Polygon.parse("0,0  7 ,0 0,7"), TEN)
    y, x = np.indices((8, 10))
    assert np.array_equal(triangle, x + y <= 7)


def test_a_polygon_is_cut_at_the_border_and_refused_outside():
    assert np.array_equal(
        as_mask(Polygon.parse("-5,-5 20,-5 20,3 -5,3"), TEN), np.arange(8)[:, None].repeat(10, 1) <= 3
    )
    with pytest.raises(
        ConfigError, match=r"^polygon='20,20 30,20 30,30': lies outside the image, which is 10x8 pixels"
    ):
        as_mask(Polygon.parse("20,20 30,20 30,30"), TEN)


@pytest.mark.parametrize(
    "text", ["", "1,2 3,4", "1,2 3,4 5", "1,2,3 4,5,6 7,8,9", "a,b c,d e,f", "1;2 3;4 5;6", "1.5,2 3,4 5,6"]
)
def test_bad_polygons_are_named(text):
    with pytest.raises(ConfigError, match=r"^polygon=.*three corners or more"):
        Polygon.parse(text)


def test_the_union_of_masks():
    both = combine([as_mask(Box(0, 0, 2, 2), TEN), as_mask(Box(1, 1, 2, 2), TEN)])
    assert both.sum() == 7 and both[0, 0] and both[2, 2] and not both[0, 2]
