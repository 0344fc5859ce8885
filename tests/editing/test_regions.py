"""Which part of an image is worked on: inside the image, around the mask, as large as it must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.editing.regions import CONTEXT, Region, choose_region

FACTORS = (1, 2, 4, 8, 16)


@st.composite
def cases(draw):
    """A mask with a random box in it, a model's size and its downsampling."""
    factor = draw(st.sampled_from(FACTORS))
    model = tuple(factor * draw(st.integers(1, 12)) for _ in range(2))
    height, width = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    mask = np.zeros((height, width), bool)
    mask[top : draw(st.integers(top + 1, height)), left : draw(st.integers(left + 1, width))] = True
    return mask, model, factor


def inside(region: Region, mask: np.ndarray) -> bool:
    ends = zip((region.rows, region.columns), mask.shape, strict=True)
    return all(0 <= first < last <= end for (first, last), end in ends)


@settings(max_examples=300, deadline=None)
@given(cases(), st.sampled_from(["auto", "whole", "crop", "tiles"]))
def test_regions_hold_the_mask_and_fit_their_canvas(case, window):
    mask, model, factor = case
    region = choose_region(window, mask, model, factor)
    assert inside(region, mask) and region.of(mask).sum() == mask.sum()
    assert all(
        0 < size <= canvas and canvas % factor == 0
        for size, canvas in zip(region.size, region.canvas, strict=True)
    )
    assert region.of(mask).shape == region.pixels and region.box == (
        region.columns[0],
        region.rows[0],
        region.columns[1],
        region.rows[1],
    )


@settings(max_examples=300, deadline=None)
@given(cases())
def test_a_crop_is_the_models_size_and_keeps_shape_and_context(case):
    mask, model, factor = case
    region = choose_region("crop", mask, model, factor)
    assert region.canvas == model
    scales = [size / pixels for size, pixels in zip(region.size, region.pixels, strict=True)]
    if region.size == region.pixels:
        # at its own scale: all that fits, or all there is
        assert all(
            pixels == min(end, side)
            for pixels, end, side in zip(region.pixels, mask.shape, model, strict=True)
        )
    else:
        assert min(scales) < 1
        assert abs(scales[0] - scales[1]) <= sum(
            1 / pixels for pixels in region.pixels
        )  # whole pixels on both axes
    for span, touched in ((region.rows, mask.any(1)), (region.columns, mask.any(0))):
        places = np.nonzero(touched)[0]
        context = int(np.ceil(CONTEXT * (places[-1] + 1 - places[0])))
        assert span[0] <= max(0, places[0] - context) and span[1] >= min(
            len(touched), places[-1] + 1 + context
        )


@settings(max_examples=300, deadline=None)
@given(cases(), st.integers(1, 3))
def test_a_ring_of_drawn_cells_does_not_eat_the_context_of_a_crop(case, ring):
    mask, model, factor = case
    region, without = (
        choose_region("crop", mask, model, factor, ring),
        choose_region("crop", mask, model, factor),
    )
    assert inside(region, mask) and region.of(mask).sum() == mask.sum() and region.canvas == model
    assert all(pixels >= before for pixels, before in zip(region.pixels, without.pixels, strict=True))
    drawn = ring * factor
    for span, touched, size, side in zip(
        (region.rows, region.columns), (mask.any(1), mask.any(0)), region.size, model, strict=True
    ):
        places = np.nonzero(touched)[0]
        scale = size / (span[1] - span[0])
        box = (places[-1] + 1 - places[0]) * scale
        if span != (0, len(touched)) and all(2 * drawn <= side / 2 for side in model):
            assert (
                side - 2 * drawn - box >= CONTEXT * box - 2
            )  # whole pixels; neither hidden nor drawn; at a border on one side only


def test_a_crop_makes_room_for_a_ring_unless_the_whole_image_fits():
    mask = np.zeros((256, 256), bool)
    mask[100:132, 100:132] = True
    assert choose_region("crop", mask, (64, 64), 8).pixels == (64, 64)
    assert choose_region("crop", mask, (64, 64), 8, ring=1).pixels == (
        85,
        85,
    )  # 32 pixels with 16 around, in 48 of 64
    assert choose_region("crop", mask, (64, 64), 8, ring=9).pixels == (
        128,
        128,
    )  # never less than half of the model's size
    assert choose_region("crop", mask[80:150, 80:150], (64, 64), 8, ring=9) == Region(
        (0, 70), (0, 70), (64, 64), (64, 64)
    )


@settings(max_examples=300, deadline=None)
@given(cases())
def test_tiles_keep_the_images_scale(case):
    mask, model, factor = case
    region = choose_region("tiles", mask, model, factor)
    assert region.size == region.pixels
    for size, canvas, side, end in zip(region.size, region.canvas, model, mask.shape, strict=True):
        assert canvas >= side and (size in (canvas, end))
    for span, touched, side in (
        (region.rows, mask.any(1), model[0]),
        (region.columns, mask.any(0), model[1]),
    ):
        places = np.nonzero(touched)[0]
        assert span[0] <= max(0, places[0] - side // 2) and span[1] >= min(
            len(touched), places[-1] + 1 + side // 2
        )


@pytest.mark.parametrize(
    "size, expected", [((28, 28), "whole"), ((20, 28), "whole"), ((29, 28), "crop"), ((10, 60), "crop")]
)
def test_auto_is_whole_up_to_the_models_size_and_crop_beyond(size, expected):
    mask = np.zeros(size, bool)
    mask[3:5, 4:9] = True
    assert choose_region("auto", mask, (28, 28), 4) == choose_region(expected, mask, (28, 28), 4)


def test_a_small_hole_in_a_photograph_is_worked_on_at_its_own_scale():
    mask = np.zeros((384, 512), bool)
    mask[300:340, 480:512] = True
    assert choose_region("auto", mask, (128, 128), 8) == Region(
        (256, 384), (384, 512), (128, 128), (128, 128)
    )
    mask[100:340] = True
    region = choose_region("auto", mask, (128, 128), 8)
    assert (region.rows, region.columns, region.size, region.canvas) == (
        (0, 384),
        (0, 512),
        (96, 128),
        (128, 128),
    )
    assert choose_region("tiles", mask, (128, 128), 8) == Region((32, 384), (0, 512), (352, 512), (352, 512))
