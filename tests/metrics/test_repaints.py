"""Measures of repainted images, by hand and in batches."""

from __future__ import annotations

import pytest
import torch

from d3pm_image.metrics.repaints import Repaints
from d3pm_image.metrics.seam import seam_ratio
from d3pm_image.pixel_range import from_levels


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def measured(results, originals, masks, size: int = 100) -> dict:
    found = Repaints()
    for parts in zip(results.split(size), originals.split(size), masks.split(size), strict=True):
        found.add(*parts)
    return found.figures()


def test_figures_by_hand():
    """Two images of 4 × 4, the left half hidden; one hidden pixel is off by 51 levels, one known one by 1."""
    originals = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    originals[..., 2:] = 110
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[:, :, :2] = True
    results = originals.clone()
    results[0, 0, 1, 1] += 51
    results[1, 0, 0, 3] += 1
    found = measured(results, originals, masks)
    assert found["hidden_share"] == 0.5 and found["known_pixels_changed"] == 1
    assert found["mse"] == pytest.approx(0.2**2 / 16, rel=1e-5)
    assert found["psnr_db"] == pytest.approx(26.0206, abs=1e-3)
    assert found["seam_ratio"] == pytest.approx((7 * 10 + 41) / 80, abs=1e-4)
    assert found["seam_gradient"] == pytest.approx((7 * 10 + 41) / 8 / 255, abs=1e-5)


def test_untouched_images_have_no_error():
    images, masks = noise(3, 3, 6, 6), noise(3, 6, 6, seed=1) > 127
    found = measured(images, images, masks)
    assert (found["mse"], found["psnr_db"], found["known_pixels_changed"]) == (0, 120, 0)
    assert found["seam_ratio"] == 1


def test_batches_give_the_same_figures():
    originals, results, masks = noise(9, 3, 8, 8), noise(9, 3, 8, 8, seed=1), noise(9, 8, 8, seed=2) > 99
    whole = measured(results, originals, masks)
    assert measured(results, originals, masks, 2) == whole
    ratio = seam_ratio(from_levels(results), from_levels(originals), masks)
    assert whole["seam_ratio"] == pytest.approx(ratio, abs=1e-4)
    assert whole["known_pixels_changed"] == int(((results != originals).any(1) & ~masks).sum()) > 0


def test_flat_images_have_no_seam_to_compare_with():
    flat, masks = torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.eye(4, dtype=torch.bool)[None]
    assert measured(flat, flat, masks)["seam_ratio"] is None
    everything = torch.ones(1, 4, 4, dtype=torch.bool)
    found = measured(noise(1, 1, 4, 4), flat, everything)
    assert found["seam_gradient"] is None and found["seam_ratio"] is None


def test_an_image_without_a_border_counts_for_its_pixels_alone():
    originals, results = noise(2, 1, 4, 4), noise(2, 1, 4, 4, seed=1)
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[0, :, :2], masks[1] = True, True
    alone, both = measured(results[:1], originals[:1], masks[:1]), measured(results, originals, masks)
    assert both["seam_ratio"] == alone["seam_ratio"] and both["hidden_share"] == 0.75
