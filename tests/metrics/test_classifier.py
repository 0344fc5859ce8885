"""The judge of pictures above 16 pixels: it learns, gives the same network for the same images, and is trained once."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.config import ConfigError
from d3pm_image.metrics import classifier
from d3pm_image.metrics.classifier import BATCH, passes, train_classifier

SIDE = 20


def stripes(number: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of stripes that lie (0), stand (1) or are missing (2), in noise and in any phase; and which."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(number) % 3
    along = torch.arange(SIDE) + torch.randint(0, 6, (number, 1), generator=generator)
    wave = ((along % 6 < 3) * 120)[:, None, None, :].expand(-1, 1, SIDE, -1)
    pictures = torch.stack([wave.transpose(2, 3), wave, torch.full_like(wave, 60)])[
        labels, torch.arange(number)
    ]
    return (pictures + torch.randint(0, 100, pictures.shape, generator=generator)).to(torch.uint8), labels


def test_it_learns_is_repeatable_and_trained_once(tmp_path, monkeypatch):
    monkeypatch.setattr(classifier, "LEAST_STEPS", 60)  # enough for stripes
    images, labels = stripes(3 * BATCH, 0)
    unseen, truth = stripes(90, 1)
    judge = train_classifier(images, labels, 3, tmp_path, flip=True)
    assert judge.accuracy(unseen, truth) > 0.95
    features = judge.features(unseen)
    assert features.shape == (90, 128) and judge.name.startswith("convolutional network")
    assert judge.space.probabilities is not None
    chances = judge.space.probabilities(unseen)
    assert torch.equal(chances.argmax(1), judge.predict(unseen)) and torch.allclose(
        chances.sum(1), torch.ones(90)
    )

    anew = train_classifier(images, labels, 3, flip=True)
    assert anew.space.sha256 == judge.space.sha256
    monkeypatch.setattr(classifier, "_fit", lambda *_: pytest.fail("trained again"))
    stored = train_classifier(images, labels, 3, tmp_path, flip=True)
    assert stored.space.sha256 == judge.space.sha256 and torch.equal(stored.features(unseen), features)


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
