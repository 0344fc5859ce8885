"""Images made seamless: what is rolled, what is repainted, and what stays."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.edits import make_image
from helpers.models import pipeline
from helpers.odd_images import FILES
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.rolling import best_start, centring, rolled
from d3pm_image.editing.seamless import bands, cross, faded, passes
from d3pm_image.imaging import to_tensor
from d3pm_image.metrics.seam import border_seam

SIZES = [(12, 16), (13, 9), (4, 40)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("by", [(0, 0), (4, 6), (3, 0), (0, -2), (-13, 14)])
def test_a_rolled_image_keeps_its_mode_and_has_all_its_pixels(name, by):
    image = FILES[name][0]
    found = rolled(image, *by)
    assert (found.mode, found.size, found.info.keys()) == (image.mode, image.size, image.info.keys())
    assert np.array_equal(np.asarray(found), np.roll(np.asarray(image), by, (0, 1)))
    assert found.getpalette() == image.getpalette()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("axis", ["x", "y", "both"])
@pytest.mark.parametrize("feather", [0, 1])
@pytest.mark.parametrize("model", [None, (8, 8), (3, 4)])
def test_every_place_at_a_border_is_painted_anew_last_of_all(size, axis, feather, model):
    """A model that paints what is known around a hole, here the number of the pass, leaves no pair across the
    border of which one pixel is older than the other."""
    fade = faded(size, axis, 0, feather)
    steps = passes(size, axis, 0, fade, model)
    age = np.zeros(size, int)
    for number, step in enumerate(steps, 1):
        age[step.own] = number
    if axis in ("x", "both"):
        assert (age[:, 0] == age[:, -1]).all() and age[:, 0].all()
    if axis in ("y", "both"):
        assert (age[0] == age[-1]).all() and age[0].all()
    last = steps[-1].mask
    if axis == "both":  # an island: no end of it touches the border of the rolled image
        assert not (last[0].any() or last[-1].any() or last[:, 0].any() or last[:, -1].any())
    allowed = cross(size, axis)
    assert all((allowed | ~step.own).all() for step in steps) and not allowed.all()


def test_a_mark_that_goes_on_beyond_a_border_is_brought_to_the_middle_of_a_window():
    mask = np.zeros((20, 40), bool)
    mask[[0, 19], 30:34] = True
    assert centring(mask, "none", (8, 8)) == (0, 0) and centring(mask, "x", (8, 8)) == (0, 2 - 30)
    down, right = centring(mask, "both", (8, 8))
    rows, columns = (np.flatnonzero(np.roll(mask, (down, right), (0, 1)).any(axis)) for axis in (1, 0))
    assert rows.tolist() == [3, 4] and columns.tolist() == [2, 3, 4, 5]
    assert centring(np.ones((4, 4), bool), "both", (8, 8)) == (0, 0)
    assert centring(np.zeros((4, 4), bool), "both", (8, 8)) == (0, 0)
    assert best_start(12, 40, 8) == 14 and best_start(4, 6, 8) == 1


def test_a_band_is_a_quarter_of_its_side_or_as_wide_as_asked_for():
    assert bands((128, 40), "both") == {"y": 32, "x": 10} and bands((4000, 4000), "y") == {"y": 64}
    assert bands((128, 40), "x", 9) == {"x": 9} and cross((10, 20), "x", 4).sum() == 40
    columns = np.flatnonzero(cross((10, 20), "x", 4)[0]).tolist()
    assert columns == [0, 1, 18, 19]
    assert faded((128, 40), "both", 0, 8) == 4 and faded((128, 128), "both", 0, 8) == 8


@pytest.mark.parametrize(
    ("size", "axis", "width"), [((8, 20), "both", 7), ((20, 8), "x", 9), ((3, 20), "y", 0), ((9, 9), "x", 1)]
)
def test_bands_that_leave_nothing_are_refused(size, axis, width):
    with pytest.raises(ConfigError, match=r"^(width|image)="):
        passes(size, axis, width)


@pytest.mark.parametrize("axis", ["x", "y", "both"])
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_known_pixels_come_back_as_they_were(axis, mode):
    """Images larger and smaller than the model, several variants of each."""
    pipe = pipeline()
    images = [make_image(12, 10, mode, seed=1), make_image(4, 4, mode, seed=2)]
    found = pipe.tile(images, labels=["cat", None], variants=2, axis=axis, steps=2, seed=3)
    for image, results in zip(images, found, strict=True):
        assert len(results) == 2
        known = ~cross((image.height, image.width), axis)
        for result in results:
            assert (result.mode, result.size) == (image.mode, image.size)
            assert np.array_equal(np.asarray(result)[known], np.asarray(image)[known])
            assert not np.array_equal(np.asarray(result), np.asarray(image))


def test_a_result_is_the_same_alone_and_among_others_and_in_every_kind_of_output():
    pipe = pipeline()
    images = [make_image(9, 7, "L", seed=n) for n in (1, 2)]
    several = pipe.tile(images, variants=2, seed=5, feather=1)
    alone = pipe.tile(images[1], seed=5, first=3, feather=1)
    assert np.array_equal(np.asarray(alone[0]), np.asarray(several[1][1]))
    tensors = pipe.tile(images[1], seed=5, first=3, feather=1, output_type="pt")
    assert tensors.shape == (1, 1, 7, 9) and np.array_equal(
        (tensors[0, 0].numpy() * 255).round(), np.asarray(alone[0])
    )


def test_wrong_settings_are_one_line():
    pipe, image = pipeline(), make_image(9, 7, "L")
    for wrong in ({"axis": "z"}, {"width": 7}, {"feather": -1}, {"labels": "cow"}, {"window": "tile"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            pipe.tile(image, **wrong)
    with pytest.raises(ConfigError, match="image"):
        pipe.tile([])


class Surroundings:
    """An edit that paints the mean of the known pixels into a hole: what a model that fits in does."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __call__(self, images, masks, labels, variants, **how):
        results = []
        for image, mask in zip(images, masks, strict=True):
            array = np.asarray(image).astype(float)
            array[mask] = array[~mask].mean()
            results.append([Image.fromarray(array.round().astype(np.uint8))] * variants)
        return results


@pytest.mark.parametrize("axis", ["x", "y", "both"])
def test_a_model_that_fits_in_leaves_no_seam(axis, monkeypatch):
    """A ramp has its largest jump at the border; afterwards there is none."""
    pipe = pipeline()
    y, x = np.indices((16, 20))
    ramp = Image.fromarray((x * 8 + y * 6).astype(np.uint8))
    monkeypatch.setattr(type(pipe), "inpaint", lambda self, *a, **how: Surroundings(self)(*a, **how))
    (found,) = pipe.tile(ramp, axis=axis, feather=0)
    before, after = (border_seam(to_tensor(image)[None], axis) for image in (ramp, found))
    assert before > 10 and after < 0.5
