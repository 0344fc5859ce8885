"""Kernel distance, nearest neighbours and inception score: closed forms and laws."""

from __future__ import annotations

import math

import pytest
import torch

from d3pm_image.metrics.feature_extractor import inception_score
from d3pm_image.metrics.kernel import kernel_distance
from d3pm_image.metrics.neighbours import Neighbours, memorisation, nearest


def normal(count: int, size: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return (
        torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift
    )


def test_known_gaussians():
    """Of N(0, 1) and N(μ, 1) in one dimension: E k(x, y) with k = (xy + 1)³ by the moments of both."""

    def expected(mu: float, nu: float) -> float:
        m, n = (1, mu, mu**2 + 1, mu**3 + 3 * mu), (1, nu, nu**2 + 1, nu**3 + 3 * nu)
        return sum(math.comb(3, k) * m[k] * n[k] for k in range(4))

    value = expected(0, 0) + expected(0.7, 0.7) - 2 * expected(0, 0.7)
    found = kernel_distance(normal(4000, 1, 0), normal(3000, 1, 1, 0.7))
    assert abs(found.value - value) < 3 * found.standard_error < value


def test_sets_of_one_distribution_are_at_distance_zero_within_the_error():
    found = [kernel_distance(normal(300, 8, 2 * s), normal(300, 8, 2 * s + 1)) for s in range(40)]
    off = torch.tensor([f.value / f.standard_error for f in found])
    assert off.abs().median() < 1.2 and off.abs().max() < 5 and abs(off.mean()) < 0.6
    assert any(f.value < 0 for f in found) and any(f.value > 0 for f in found)  # no bias


def test_the_standard_error_is_the_spread_of_repeats():
    found = [kernel_distance(normal(200, 4, 2 * s), normal(200, 4, 2 * s + 1, 0.5)) for s in range(60)]
    values = torch.tensor([f.value for f in found])
    told = torch.tensor([f.standard_error for f in found]).mean()
    assert 0.6 < float(values.std() / told) < 1.6


def test_the_value_is_the_double_sum():
    a, b = normal(7, 3, 0), normal(5, 3, 1, 0.2)

    def k(x, y):
        return (x @ y.T / 3 + 1) ** 3

    xx, yy = k(a, a), k(b, b)
    direct = (xx.sum() - xx.trace()) / 42 + (yy.sum() - yy.trace()) / 20 - 2 * k(a, b).mean()
    for seed in (0, 5):
        assert kernel_distance(a, b, seed).value == pytest.approx(float(direct), rel=1e-12)
    assert math.isnan(kernel_distance(a[:3], b[:3]).standard_error)


def test_nearest_does_not_depend_on_the_batches():
    images, training = normal(6, 5, 0), normal(50, 5, 1)
    training[17] = images[2]
    whole = nearest(images, [training])
    parts = nearest(images, training.split(7))
    torch.testing.assert_close(whole.distance, parts.distance)
    assert whole.number.tolist() == parts.number.tolist() and whole.number[2] == 17 and whole.distance[2] == 0
    assert whole.distance[0] == pytest.approx(float((training - images[0]).norm(dim=1).min()))


def test_copies_of_training_images_are_noticed():
    training, new = normal(400, 6, 0), normal(300, 6, 1)
    held_out = nearest(normal(300, 6, 2), [training])
    assert memorisation(nearest(new, [training]), held_out)["share_unusually_near"] < 0.05
    copies = torch.cat([training[:150] + 1e-3, new[:150]])
    found = memorisation(nearest(copies, [training]), held_out)
    assert found["share_unusually_near"] == pytest.approx(0.5, abs=0.03)
    assert found["median_distance"] < found["median_distance_of_held_out"]
    assert Neighbours(torch.zeros(1), torch.zeros(1)).distance.shape == (1,)


def test_inception_score_at_its_ends():
    sure = torch.eye(4).repeat(25, 1)
    assert inception_score(sure, 5) == pytest.approx((4.0, 0.0), abs=1e-9)
    assert 3.9 < inception_score(sure, 10)[0] < 4  # parts of 10 hold the classes unevenly
    assert inception_score(torch.full((40, 4), 0.25)) == pytest.approx((1.0, 0.0))
