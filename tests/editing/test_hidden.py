"""Regions that evaluations hide: decided by seed and number alone, never all of an image nor nothing."""

from __future__ import annotations

import numpy as np
import pytest

from d3pm_image.config import ConfigError
from d3pm_image.config.editing import HIDDEN
from d3pm_image.editing.hidden import SIDES, STROKES_SHARE, half, hidden_mask


@pytest.mark.parametrize("region", HIDDEN)
def test_a_region_depends_on_seed_and_number_alone(region):
    masks = [hidden_mask(region, (28, 20), 3, number) for number in range(40)]
    again = [hidden_mask(region, (28, 20), 3, number) for number in reversed(range(40))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(masks, again, strict=True))
    other = [hidden_mask(region, (28, 20), 4, number) for number in range(40)]
    assert len({mask.tobytes() for mask in masks}) >= (4 if region == "half" else 39)
    assert sum(np.array_equal(a, b) for a, b in zip(masks, other, strict=True)) < 25
    assert masks[0].dtype == bool and masks[0].shape == (28, 20)


@pytest.mark.parametrize("region", HIDDEN)
@pytest.mark.parametrize("size", [(4, 4), (4, 40), (7, 5), (28, 28), (64, 48)])
def test_something_is_hidden_and_something_known(region, size):
    for number in range(60):
        assert 0 < hidden_mask(region, size, 0, number).mean() < 1


def test_halves_are_of_all_four_sides():
    sides = {name: half((5, 8), name) for name in SIDES}
    assert sides["left"][:, :4].all() and not sides["left"][:, 4:].any()
    assert np.array_equal(sides["right"], ~sides["left"]) and np.array_equal(sides["bottom"], ~sides["top"])
    assert sides["top"][:2].all() and sides["top"].sum() == 2 * 8
    drawn = [hidden_mask("half", (5, 8), 0, number) for number in range(400)]
    counts = [sum(np.array_equal(mask, side) for mask in drawn) for side in sides.values()]
    assert sum(counts) == 400 and min(counts) > 70


def test_boxes_are_full_rectangles_of_a_third_to_two_thirds():
    lengths = set()
    for number in range(200):
        mask = hidden_mask("box", (30, 21), 0, number)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert mask.sum() == len(rows) * len(columns) == mask[np.ix_(rows, columns)].sum()
        assert 10 <= len(rows) <= 20 and 7 <= len(columns) <= 14
        lengths.add(len(rows))
    assert {10, 20} <= lengths


def test_strokes_hide_a_fifth_and_a_little_more():
    shares = [hidden_mask("strokes", (32, 32), 0, number).mean() for number in range(200)]
    assert min(shares) >= STROKES_SHARE and np.mean(shares) < 1.2 * STROKES_SHARE and max(shares) < 0.35


def test_other_regions_and_images_too_small_are_refused():
    with pytest.raises(ConfigError, match="halve"):
        hidden_mask("halve", (8, 8), 0, 0)
    with pytest.raises(ConfigError, match=r"image_size.*20x3"):
        hidden_mask("half", (3, 20), 0, 0)
