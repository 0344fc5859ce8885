"""The classifier of images above 16 pixels learns, is the same for the same images, and is trained once."""

from __future__ import annotations

import pytest
import torch
from helpers.stripes import stripes

from d3pm_image.metrics import classifier
from d3pm_image.metrics.classifier import BATCH, train_classifier


@pytest.mark.slow
def test_it_learns_is_repeatable_and_trained_once(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "LEAST_STEPS", 60)  # enough for stripes
    images, labels = stripes(3 * BATCH, 0)
    unseen, truth = stripes(90, 1)
    trained = train_classifier(images, labels, 3, tmp_path, flip=True)
    assert trained.accuracy(unseen, truth) > 0.95
    features = trained.features(unseen)
    assert features.shape == (90, 128) and trained.name.startswith("convolutional network")
    assert trained.space.probabilities is not None
    chances = trained.space.probabilities(unseen)
    assert torch.equal(chances.argmax(1), trained.predict(unseen)) and torch.allclose(
        chances.sum(1), torch.ones(90)
    )

    anew = train_classifier(images, labels, 3, flip=True)
    assert anew.space.sha256 == trained.space.sha256
    monkeypatch.setattr(classifier, "_fit", lambda *_: pytest.fail("trained again"))
    stored = train_classifier(images, labels, 3, tmp_path, flip=True)
    assert stored.space.sha256 == trained.space.sha256 and torch.equal(stored.features(unseen), features)
