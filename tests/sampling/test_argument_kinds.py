"""Settings and boxes of the wrong kind in Python: one line that names the argument, not an error from deep inside."""

from __future__ import annotations

import numpy as np
import pytest

from d3pm_image import Box
from d3pm_image.config import ConfigError, SamplingConfig
from d3pm_image.editing.inputs import gather
from d3pm_image.sampling.base import SAMPLERS
from d3pm_image.sampling.request import Request


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 2.0), ("steps", "2"), ("top_k", 1.5), ("correct_steps", "1"), ("negative_label", 1.5),
     ("guidance", "2"), ("temperature", [1.0]), ("top_p", "0.9")],
)  # fmt: skip
def test_a_setting_of_the_wrong_kind_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name}=.*: give a"):
        SamplingConfig(**{name: value})


@pytest.mark.parametrize(
    ("sampler", "name", "value"),
    [
        ("renoise", "eta", "x"),
        ("purity", "gumbel", (4.5,)),
        ("halton", "roll", "no"),
        ("halton", "reveal", 3),
    ],
)
def test_a_samplers_own_setting_of_the_wrong_kind_is_named(sampler, name, value):
    with pytest.raises(ConfigError, match=f"^{name}="):
        SAMPLERS[sampler](**{name: value})


def test_numbers_of_numpy_are_numbers():
    config = SamplingConfig(steps=np.int64(3), guidance=np.float32(2), top_k=np.uint8(1))
    assert (config.steps, config.guidance, config.top_k) == (3, 2.0, 1)
    assert SAMPLERS["remask"](eta=np.float32(0.5)).eta == 0.5 and SAMPLERS["halton"](roll=np.bool_(True)).roll


@pytest.mark.parametrize("numbers", [(0.5, 0, 4, 4), (0, 0, "4", 4), (0, 0, 4, np.float64(4))])
def test_a_box_of_parts_of_pixels_is_refused(numbers):
    with pytest.raises(ConfigError, match=r"^box=.*whole pixels"):
        Box(*numbers)


def test_a_box_takes_numbers_of_numpy():
    assert Box(*np.array([0, 0, 2, 1])).mask((3, 2)).sum() == 2


@pytest.mark.parametrize(
    ("name", "value"), [("seed", True), ("seed", [0, False]), ("batch_size", True), ("first", False)]
)
def test_true_is_no_number(name, value):
    with pytest.raises(ConfigError, match=rf"^{name}=(True|False): give a whole number"):
        Request(**{name: value})


@pytest.mark.parametrize("mask", [(2, 3, 4, 5), [2, 3, 4, 5], (2.0, 3, 4, 5)])
def test_four_numbers_in_place_of_a_mask_are_told_of_the_box(mask):
    with pytest.raises(
        ConfigError, match=r"^mask=.*left, top, width and height give Box\(2(\.0)?, 3, 4, 5\)"
    ):
        gather(np.zeros((8, 8), np.uint8), mask)
