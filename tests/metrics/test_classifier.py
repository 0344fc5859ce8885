"""The classifier of images above 16 pixels: it learns, gives the same network for the same images, and is trained once."""

from __future__ import annotations

import pytest
from helpers.stripes import stripes

from d3pm_image.config import ConfigError
from d3pm_image.metrics import classifier
from d3pm_image.metrics.classifier import BATCH, passes, train_classifier


def test_small_sets_are_seen_more_often():
    assert [passes(count) for count in (60_000, 24_300, 8_600, 1_500, 384, 5)] == [3, 3, 3, 19, 67, 200]


def test_what_it_was_trained_on_is_part_of_its_name(monkeypatch):
    monkeypatch.setattr(classifier, "_fit", lambda *_: None)
    images, labels = stripes(6, 0)
    changed = images.clone()
    changed[0, 0, 0, 0] ^= 1
    kinds = [
        (images, labels, {}),
        (changed, labels, {}),
        (images, labels.flip(0), {}),
        (images, labels, {"flip": True}),
        (images, labels, {"seed": 1}),
    ]
    assert len({train_classifier(a, b, 3, **how).name for a, b, how in kinds}) == 5


def test_too_few_images_are_an_error_and_leave_nothing_behind(tmp_path):
    with pytest.raises(
        ConfigError, match=f"too few labelled images to train a classifier; it needs at least {BATCH}"
    ):
        train_classifier(*stripes(BATCH - 1, 0), 3, tmp_path)
    assert not list(tmp_path.iterdir())
