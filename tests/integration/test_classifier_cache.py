"""A kept classifier that is damaged is trained anew."""

from __future__ import annotations

import pytest
import torch
from helpers.damage import DAMAGE, number, without
from safetensors.torch import load_file

from d3pm_image.metrics.classifier import train_classifier


@pytest.mark.parametrize("damage", ["cut", "nonsense", "a flipped byte", "a pipe", "not a number", "no head"])
def test_a_damaged_classifier_is_trained_anew(tmp_path, monkeypatch, damage):
    from d3pm_image.metrics import classifier

    monkeypatch.setattr(classifier, "LEAST_STEPS", 1)
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    images, labels = (
        torch.randint(
            0, 256, (128, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        ),
        torch.arange(128) % 2,
    )
    first = train_classifier(images, labels, 2, tmp_path)
    (file,) = tmp_path.iterdir()
    good = {name: value.clone() for name, value in load_file(file).items()}
    special = {"not a number": number("head.weight", float("nan")), "no head": without("head.weight")}
    (DAMAGE | special)[damage](file)
    again = train_classifier(images, labels, 2, tmp_path)
    assert again.space.sha256 == first.space.sha256 and all(
        torch.equal(load_file(file)[name], good[name]) for name in good
    )
