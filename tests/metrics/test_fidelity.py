"""Distances between feature sets: closed forms, laws, and moments that come in parts."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.metrics.fidelity import Moments, frechet_distance, manifold


def normal(count: int, size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def white(count: int, size: int) -> torch.Tensor:
    """Features with mean 0 and covariance 1, to rounding."""
    x = normal(count, size)
    x = x - x.mean(0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T


def test_frechet_distance_in_closed_form():
    """Of N(0, I) and N(μ, diag σ²): |μ|² + Σ (1 - σ)². Without common axes, too: C_b = R diag σ² Rᵀ is as far from I."""
    x = white(500, 4)
    shift, scale = torch.tensor([1.0, -2.0, 0.0, 0.5]).double(), torch.tensor([0.5, 1.0, 2.0, 3.0]).double()
    rotation = torch.linalg.qr(normal(4, 4, 1)).Q
    expected = float(shift.square().sum() + (1 - scale).square().sum())
    assert frechet_distance(x, x * scale + shift) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x, (x * scale) @ rotation.T + shift) == pytest.approx(expected, rel=1e-9)


def test_laws_of_the_frechet_distance():
    a, b = normal(200, 6), normal(150, 6, 1) * 1.5 + 0.3
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9) and frechet_distance(a, a) >= 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(a + 100, b + 100) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_frechet_distance_of_fewer_images_than_features():
    """Covariances with empty directions: moved into more dimensions, sets are as far apart as before, whatever the last digits."""
    a, b = normal(12, 3), normal(15, 3, 1) * 1.5 + 0.3
    wide = torch.linalg.qr(normal(400, 400, 2)).Q[:3]
    assert frechet_distance(a @ wide, b @ wide) == pytest.approx(frechet_distance(a, b), rel=1e-6)


@pytest.mark.parametrize("sizes", [[300], [1] * 300, [7, 250, 43]])
def test_moments_do_not_depend_on_the_parts(sizes):
    """Nor on a mean far larger than the spread."""
    x = normal(300, 5) * torch.arange(1, 6) + 1e6
    moments = Moments()
    for part in x.split(sizes):
        moments.add(part)
    assert moments.count == 300
    torch.testing.assert_close(moments.mean, x.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.covariance, torch.cov(x.T), rtol=1e-9, atol=1e-9)


def test_moments_stand_for_their_features():
    a, b = normal(200, 6), normal(150, 6, 1) * 1.5
    assert frechet_distance(Moments(a), b) == frechet_distance(a, Moments(b)) == frechet_distance(a, b)


def test_manifold_of_two_clusters():
    """Samples of one of two real clusters are all near real ones (precision), and reach half of those (recall, coverage)."""
    near, far = normal(60, 3), normal(60, 3, 1) + 50
    found = manifold(torch.cat([near, far]), normal(60, 3, 2) * 0.9)
    assert found["precision"] > 0.9
    assert 0.35 < found["recall"] <= 0.5 and 0.35 < found["coverage"] <= 0.5
