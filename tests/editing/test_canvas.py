"""Between an image and the tokenizer: nothing hidden goes in, and what comes out lands in its place, softly if asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.masked import holes, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from d3pm_image.editing.canvas import convert_for, covered_pixels, make_canvas, put_back
from d3pm_image.editing.feather import blending_weights, distance
from d3pm_image.editing.regions import Region, choose_region
from d3pm_image.imaging import to_tensor

MODES = ["L", "RGB", "RGBA", "LA", "P", "I;16", "1", "CMYK", "I", "F"]
WHOLE = Region((0, 16), (0, 24), (16, 24), (16, 24))


def region(size, canvas=None) -> Region:
    return Region((0, 16), (0, 24), size, canvas or size)


def of_mode(mode: str, array: np.ndarray) -> Image.Image:
    return (
        Image.frombytes(mode, (24, 16), array.tobytes())
        if mode not in ("1", "I;16")
        else Image.fromarray(array)
    )


def make_image(mode: str, seed: int) -> np.ndarray:
    if mode in ("I", "F"):
        return (
            np.random.default_rng(seed)
            .integers(0, 200 + 60_000 * seed, (16, 24))
            .astype(np.int32 if mode == "I" else np.float32)
        )
    return np.array(noise(mode, seed=seed))


@pytest.mark.parametrize("size", [(16, 24), (8, 8), (5, 7), (32, 40)])
@pytest.mark.parametrize("mode", MODES)
def test_nothing_hidden_reaches_the_encoder(mode, size):
    """Bit for bit the same input whatever lies under the mask, at every scale."""
    mask = holes()
    one, other = (make_image(mode, s) for s in (0, 1))
    other[~mask] = one[~mask]
    canvases = []
    for array in (one, other):
        image = of_mode(mode, array)
        if mode == "P":
            image.putpalette(noise("P").getpalette())
        canvases.append(make_canvas(image, mask, region(size, (size[0] + 3, size[1])), 3))
    assert canvases[0].pixels.shape == (3, size[0] + 3, size[1])
    assert torch.equal(canvases[0].pixels, canvases[1].pixels)


def test_what_is_not_hidden_is_encoded_as_it_is():
    image, mask = noise("RGB"), holes()
    untouched = make_canvas(image, np.zeros((16, 24), bool), WHOLE, 3)
    assert torch.equal(untouched.pixels, to_tensor(image)) and not untouched.open.any()
    shown = make_canvas(image, mask, WHOLE, 3, hide=False)
    assert torch.equal(shown.pixels, to_tensor(image)) and np.array_equal(shown.open, mask)
    filled = make_canvas(image, mask, WHOLE, 3)
    known = torch.from_numpy(~mask)
    assert torch.equal(filled.pixels[:, known], to_tensor(image)[:, known]) and not torch.equal(
        filled.pixels, shown.pixels
    )


@pytest.mark.parametrize("size", [(37, 21), (64, 64), (16, 8), (9, 5), (4, 3)])
@pytest.mark.parametrize("model", [(8, 8), (6, 10)])
def test_every_model_pixel_over_a_hidden_one_is_open(size, model):
    """Model pixel i covers the image's pixels from i·h/H to (i+1)·h/H; it is open exactly if one of them is hidden."""
    width, height = size
    for seed in range(4):
        mask = np.random.default_rng(seed).random((height, width)) < 2.5 / (height * width)
        touched = make_canvas(
            Image.new("L", size), mask, Region((0, height), (0, width), model, model), 1
        ).open
        ys, xs = np.nonzero(mask)
        for r in range(model[0]):
            for c in range(model[1]):
                rows = (ys < (r + 1) * height / model[0]) & (ys + 1 > r * height / model[0])
                columns = (xs < (c + 1) * width / model[1]) & (xs + 1 > c * width / model[1])
                assert bool(touched[r, c]) == bool((rows & columns).any())


def test_padding_is_open_and_continues_the_image():
    image = Image.new("L", (24, 16), 51)
    canvas = make_canvas(image, np.zeros((16, 24), bool), region((16, 24), (20, 32)), 1)
    assert canvas.open[16:].all() and canvas.open[:, 24:].all() and not canvas.open[:16, :24].any()
    torch.testing.assert_close(canvas.pixels, torch.full((1, 20, 32), 0.2))


def test_an_image_is_not_changed_by_its_repaint():
    image, mask = noise("RGBA"), holes()
    before, mask_before = np.array(image), mask.copy()
    make_canvas(image, mask, region((8, 8)), 3)
    assert np.array_equal(image, before) and np.array_equal(mask, mask_before)


def test_images_of_other_sizes_are_stretched():
    assert (
        convert_for(noise("RGBA"), 1, (8, 10)).size == (10, 8)
        and convert_for(noise("L"), 3, (16, 24)).mode == "RGB"
    )


def test_painted_pixels_land_where_they_were_taken():
    """A region that is neither resized nor padded comes back pixel for pixel, at its place; padding is cut off."""
    image = noise("RGB", 60, 50)
    mask = np.zeros((50, 60), bool)
    mask[30:36, 40:44] = True
    for window, canvas in (("crop", (24, 24)), ("tiles", (32, 32))):
        where = choose_region(window, mask, (24, 24), 8)
        assert where.canvas == canvas
        back = put_back(where, make_canvas(image, mask, where, 3, hide=False).pixels, (50, 60))
        assert back.size == image.size
        assert np.array_equal(where.of(np.asarray(back)), where.of(np.asarray(image)))
        outside = np.ones((50, 60), bool)
        where.of(outside)[...] = False
        assert not np.asarray(back)[outside].any()


def test_cells_cover_their_own_pixels():
    where = Region((10, 26), (4, 28), (16, 24), (16, 24))
    cells = torch.zeros(4, 6, dtype=torch.bool)
    cells[1, 2] = cells[3, 5] = True
    expected = np.zeros((40, 40), bool)
    expected[14:18, 12:16] = expected[22:26, 24:28] = True
    assert np.array_equal(covered_pixels(where, cells, 4, (40, 40)), expected)
    halved = Region((10, 42), (4, 52), (16, 24), (16, 24))
    assert covered_pixels(halved, cells, 4, (60, 60)).sum() == 4 * expected.sum()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9))
def test_distances_are_those_of_a_chess_king(seed, most):
    inside = np.random.default_rng(seed).random((9, 12)) < 0.05
    points = np.argwhere(inside)
    found = distance(torch.from_numpy(inside), most)
    for y in range(9):
        for x in range(12):
            nearest = min((max(abs(y - r), abs(x - c)) for r, c in points), default=most)
            assert found[y, x] == min(nearest, most)


@pytest.mark.parametrize("feather", [0, 1, 3, 50])
def test_a_feathered_seam_falls_from_the_mask_to_the_end_of_the_drawn_cells(feather):
    mask, drawn = np.zeros((24, 24), bool), np.zeros((24, 24), bool)
    mask[10:14, 10:14] = drawn[4:20] = True
    weights = blending_weights(mask, drawn, feather)
    assert (weights[mask] == 1).all() and (weights[~drawn] == 0).all() and (weights >= 0).all()
    upward = weights[10::-1, 12]  # from the mask's first row to the image's edge
    assert (np.diff(upward) <= 0).all()
    expected = {
        0: [1, 0],
        1: [1, 1 / 2, 0],
        3: [1, 3 / 4, 2 / 4, 1 / 4, 0],
        50: [1, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7, 0],
    }[feather]
    assert upward[: len(expected)].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("feather", [2, 9])
def test_a_seam_does_not_depend_on_the_image_around_it(feather):
    mask, drawn = holes(24, 16, 3), holes(24, 16, 4)
    expected = blending_weights(np.pad(mask, 1), np.pad(drawn, 1), feather)
    wide = [np.pad(array, ((30, 7), (2, 40))) for array in (mask, drawn)]
    assert np.array_equal(blending_weights(*wide, feather)[29:47, 1:27], expected)


def test_a_seam_without_drawn_surroundings_is_hard():
    mask = holes()
    assert np.array_equal(blending_weights(mask, mask, 5), mask) and np.array_equal(
        blending_weights(mask, np.ones_like(mask), 0), mask
    )
