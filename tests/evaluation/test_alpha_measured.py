"""Transparent images in evaluations: features see them on white, and alpha has an error of its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.tokenizers import small, started
from helpers.transparent import icons

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.objects import source_of
from d3pm_image.evaluation.report import background
from d3pm_image.evaluation.samples import SampleEvaluator
from d3pm_image.metrics.classifier import train_classifier
from d3pm_image.metrics.pretrained import pretrained_space
from d3pm_image.metrics.reconstruction import reconstruction_error
from d3pm_image.pixel_range import from_levels, on_white


def levels(count: int = 40, side: int = 16) -> torch.Tensor:
    pixels = np.stack([np.asarray(icon) for icon in icons(count, side)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def test_on_white_is_what_pillow_says():
    from d3pm_image.imaging import plain

    expected = np.stack([np.asarray(plain(icon, 3)) for icon in icons()]).astype(int)
    found = on_white(levels(12)).permute(0, 2, 3, 1).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1
    opaque = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    assert on_white(opaque) is opaque


@pytest.mark.parametrize("side", [16, 20])
def test_a_classifier_sees_them_on_white(side, monkeypatch):
    monkeypatch.setattr("d3pm_image.metrics.classifier.LEAST_STEPS", 2)
    images, labels = levels(140, side), torch.arange(140) % 2
    by_alpha, by_white = (train_classifier(i, labels, 2) for i in (images, on_white(images)))
    assert by_alpha.space.sha256 == by_white.space.sha256
    assert torch.equal(by_alpha.features(images), by_white.features(on_white(images)))
    assert torch.equal(by_alpha.predict(images), by_alpha.predict(on_white(images)))


def test_pretrained_features_see_them_on_white():
    pytest.importorskip("efficientnet_lite_pytorch")
    space = pretrained_space()
    assert torch.equal(space.features(levels(3)), space.features(on_white(levels(3))))


def test_samples_with_alpha_are_measured():
    data = DataConfig(source="python", image_size=16, channels=4)
    pixels = np.stack([np.asarray(icon) for icon in icons(60)])
    source = source_of((pixels, np.arange(60) % 2))
    evaluator = SampleEvaluator(source, data, ImageSet(source, data), source.class_names)
    found = evaluator.measure(levels(40), torch.arange(40) % 2)
    assert np.isfinite(found["fidelity"]["frechet_distance"]) and background(data) == {"background": "white"}
    assert background(DataConfig(channels=3)) == {}


def test_alpha_has_an_error_of_its_own():
    tokenizer = started(small(4), 4)
    images = from_levels(levels(10))
    found = reconstruction_error(tokenizer, lambda numbers: images[numbers], 10, 4)
    output = tokenizer.decode(tokenizer.encode(images))
    assert found["alpha_mae"] == pytest.approx(float((output - images)[:, 3].abs().mean()), rel=1e-5)
    flat = images[:, :3]
    assert "alpha_mae" not in reconstruction_error(started(small(4), 3), lambda n: flat[n], 10)
