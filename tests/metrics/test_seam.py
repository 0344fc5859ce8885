"""Measures of an edit: how far a filled hole is felt, and how visible a seam is."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from d3pm_image.editing.receptive import disturbed_shares, smallest_ring
from d3pm_image.metrics.seam import border_seam, seam_gradients, seam_ratio
from d3pm_image.tokenizer import Pixels


class Reach:
    """A tokenizer whose code is the mean of the cells up to ``reach`` around, in 1000 levels."""

    downsampling, num_codes, channels = 4, 1000, 1

    def __init__(self, reach: int):
        self.reach = reach

    def encode(self, images):
        cells, side = F.avg_pool2d(images, 4), 2 * self.reach + 1
        return (F.avg_pool2d(cells, side, 1, self.reach)[:, 0] * 999).round().long()


@pytest.mark.parametrize("reach", [0, 1, 2, 3])
def test_a_hole_is_felt_as_far_as_the_encoder_reaches(reach):
    images = torch.rand(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(8, 64, 64, dtype=torch.bool)
    masks[:, 24:39, 26:38] = True
    shares = disturbed_shares(Reach(reach), images, masks, 4)
    assert len(shares) == 5 and all(
        (share > 0.5) == (distance <= reach) for distance, share in enumerate(shares, 1)
    )
    assert smallest_ring(shares) == reach
    assert disturbed_shares(Pixels(8, 1), images, masks, 2) == [0, 0, 0]


def test_what_is_felt_everywhere_needs_no_ring():
    assert smallest_ring([0.45, 0.21, 0.14, 0.12, 0.12]) == 2
    assert smallest_ring([0.29, 0.08, 0.07, 0.065, 0.07]) == 1
    assert smallest_ring([0.3, 0.3, math.nan, math.nan]) == 0 and smallest_ring([math.nan]) == 0
    assert smallest_ring([0.1, 0.0], limit=0.2) == 0


def test_distances_without_cells_have_no_share():
    shares = disturbed_shares(Reach(1), torch.rand(2, 1, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool), 2)
    assert all(math.isnan(share) for share in shares)


def test_the_seam_is_the_mean_jump_across_the_masks_border():
    """A 2 × 2 hole in a 4 × 4 image has eight pairs across its border; channels are averaged."""
    image, mask = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1:3, 1:3] = True
    image[0, 0, 1:3, 1:3] = 0.5
    assert seam_gradients(image, mask).tolist() == [pytest.approx(0.25)]
    image[0, 0, 0, 1] = 0.5  # one of the eight pairs closes
    assert seam_gradients(image, mask).tolist() == [pytest.approx(0.25 * 7 / 8)]
    corner = torch.zeros(1, 4, 4, dtype=torch.bool)
    corner[0, 0, 0] = True
    assert seam_gradients(torch.eye(4)[None, None], corner).tolist() == [
        1
    ]  # sides count, the corner's neighbour does not


def test_the_ratio_is_one_for_the_real_image_and_leaves_borderless_masks_out():
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(3, 6, 6, dtype=torch.bool)
    masks[0, :3], masks[1] = True, True
    assert seam_gradients(images, masks).isnan().tolist() == [False, True, True]
    assert seam_ratio(images, images, masks) == 1
    flat = torch.where(masks[:, None], images, torch.zeros_like(images))
    assert seam_ratio(flat, images, masks) == pytest.approx(
        float(images[0, :, 2].mean() / (images[0, :, 2] - images[0, :, 3]).abs().mean())
    )


def test_the_border_of_a_torus_is_a_place_like_any_other():
    """Sums of waves with whole periods, rolled at random; cut to three quarters they do not repeat."""
    random = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    waves = torch.randint(-3, 4, (400, 2, 3), generator=random).float()
    phases = torch.rand(400, 3, generator=random)
    turns = (waves[:, 0, :, None, None] * y + waves[:, 1, :, None, None] * x) / 32 + phases[..., None, None]
    images = (turns * 2 * math.pi).sin().mean(1, keepdim=True)
    for axis in ("x", "y", "both"):
        for spacing in (1, 4):
            assert border_seam(images, axis, spacing) == pytest.approx(1, abs=0.03)
        assert border_seam(images[..., :24, :24], axis) > 1.5
    assert border_seam(images[..., :24], "y") == pytest.approx(1, abs=0.05)
    assert math.isnan(border_seam(torch.zeros(1, 1, 4, 4)))


def test_the_jump_at_the_border_is_compared_with_those_at_the_places_named():
    """A stair of steps 1, 3, 1, 3, … along x, which falls by 13 at the end."""
    stair = torch.tensor([0.0, 1, 4, 5, 8, 9, 12, 13])[None, None, None].expand(1, 1, 2, 8)
    assert border_seam(stair, "x") == pytest.approx(13 / (13 / 7))
    assert border_seam(stair, "x", 2) == pytest.approx(13 / 3)
