"""Power at the frequencies that repeat with the cells of the codes."""

import math

import pytest
import torch

from d3pm_image.metrics.lattice import FLOOR, Lattice, lattice_power


def smooth(count: int = 8, side: int = 32) -> torch.Tensor:
    """Images of slopes and slow waves: nothing repeats with a cell of 4 pixels."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    a, b = (torch.rand(count, 3, 1, 1, generator=generator) for _ in range(2))
    return 0.25 + 0.25 * a * x + 0.25 * b * torch.sin(2 * math.pi * y)


def figure(images: torch.Tensor, output: torch.Tensor, cell: int = 4) -> float:
    lattice = Lattice(cell)
    for part in (slice(0, 3), slice(3, None)):
        lattice.add(images[part], output[part])
    return lattice.figures(len(images))["lattice"]


def test_the_power_of_a_wave_is_that_of_its_amplitude():
    side, amplitude = 32, 0.05
    wave = 0.5 + amplitude * torch.cos(2 * math.pi * torch.arange(side) / 4).expand(1, 1, side, side)
    power = lattice_power(wave, 4)[0].tolist()
    window = torch.hann_window(side, dtype=torch.float64)
    floor = float(window.square().sum()) ** 2 * FLOOR**2
    assert power[0] == pytest.approx(
        (amplitude / 2 * float(window.sum()) ** 2) ** 2 + floor, rel=1e-4
    )  # (0, 1/4)
    assert power[1] == pytest.approx(floor, rel=1e-3)  # (0, 1/2)
    assert len(power) == 15


def test_equal_images_have_a_ratio_of_one_and_a_pattern_of_one_level_is_found():
    images = smooth()
    assert figure(images, images) == 1
    assert figure(images, images + 0.02) == pytest.approx(1, abs=0.05)  # another brightness is no pattern
    cells = torch.zeros(4, 4)
    cells[0, 0] = 4 / 255  # root mean square: one level
    assert figure(images, images + cells.repeat(8, 8)) > 30
    other = torch.cos(2 * math.pi * torch.arange(32) * 5 / 32) * 4 / 255
    assert figure(images, images + other) == pytest.approx(1, abs=0.05)  # repeats, but not with the cells


def test_one_flat_image_counts_as_much_as_one_of_noise():
    generator = torch.Generator().manual_seed(1)
    noise = torch.rand(8, 3, 32, 32, generator=generator)
    images = torch.cat([noise, smooth()])
    pattern = torch.zeros(4, 4)
    pattern[1, 2] = 4 / 255
    assert figure(images, images + pattern.repeat(8, 8)) > 5


def test_there_is_none_for_single_pixels_and_few_cells():
    assert Lattice(1).figures(1) == {}
    lattice = Lattice(8)
    lattice.add(smooth(side=16), smooth(side=16))
    assert lattice.figures(8) == {}
