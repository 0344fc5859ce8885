"""Images at the border: grids, masks, the filling of hidden pixels, files, and what a repaint leaves unchanged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.masked import noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from d3pm_image.config import ConfigError
from d3pm_image.image_io import open_image
from d3pm_image.imaging import (
    enlarge,
    fill_hidden,
    fitted,
    grid_image,
    hidden_cells,
    save_image,
    to_pil,
    to_tensor,
)

# arrays and Pillow


@pytest.mark.parametrize("channels, mode", [(1, "L"), (3, "RGB")])
def test_arrays_survive_pillow(channels, mode):
    images = torch.randint(256, (2, channels, 5, 7)).float() / 255
    originals = to_pil(images)
    assert [p.mode for p in originals] == [mode] * 2 and originals[0].size == (7, 5)
    assert torch.equal(torch.stack([to_tensor(p) for p in originals]), images)


def test_values_outside_the_range_are_clamped():
    assert np.asarray(
        to_pil(torch.tensor([-1.0, 0.0, 0.499 / 255, 1.0, 7.0]).view(1, 1, 1, 5))[0]
    ).tolist() == [[0, 0, 0, 255, 255]]


@pytest.mark.parametrize(
    "size, factor", [((8, 8), 8), ((28, 28), 3), ((9, 64), 8), ((63, 200), 2), ((64, 64), 1), ((500, 70), 1)]
)
def test_enlarged_pixels_are_whole_blocks(size, factor):
    image = noise("RGB", *size)
    assert np.array_equal(np.asarray(enlarge(image)), np.asarray(image).repeat(factor, 0).repeat(factor, 1))


# grids


@pytest.mark.parametrize(
    "count, columns, shape",
    [
        (1, 0, (1, 1)),
        (4, 0, (2, 2)),
        (5, 0, (1, 5)),
        (3, 0, (1, 3)),
        (7, 0, (3, 3)),
        (7, 3, (3, 3)),
        (6, 6, (1, 6)),
        (2, 5, (1, 5)),
    ],
)
@pytest.mark.parametrize("gap", [0, 2])
def test_grid_holds_every_image_row_by_row(count, columns, shape, gap):
    images = [noise("RGB", 6, 4, seed) for seed in range(count)]
    sheet = np.asarray(grid_image(images, columns, gap=gap)).astype(int)
    assert sheet.shape == (shape[0] * (4 + gap) + gap, shape[1] * (6 + gap) + gap, 3)
    for number, image in enumerate(images):
        y, x = gap + number // shape[1] * (4 + gap), gap + number % shape[1] * (6 + gap)
        assert np.array_equal(sheet[y : y + 4, x : x + 6], np.asarray(image))
        sheet[y : y + 4, x : x + 6] = 255
    assert (sheet == 255).all()


def test_captions_stand_below_their_images():
    images = [Image.new("L", (40, 20), 128)] * 3
    plain, named = (np.asarray(grid_image(images, 3, captions=c)) for c in (None, ["one", "", "three"]))
    assert plain.shape[1] == named.shape[1] and named.shape[0] > plain.shape[0] + 8
    assert np.array_equal(named[:22], plain[:22])
    below = [named[22:, 2 + 42 * i : 42 + 42 * i].min() for i in range(3)]
    assert below[0] < 100 and below[1] == 255 and below[2] < 100


def test_grid_is_grey_only_if_every_image_is():
    assert grid_image([noise("L"), noise("L")]).mode == "L"
    assert grid_image([noise("L"), noise("RGB")]).mode == "RGB"
    with pytest.raises(ConfigError, match="at least one image"):
        grid_image([])


# masks


@pytest.mark.parametrize("y, x", [(0, 0), (3, 4), (7, 11), (4, 8)])
def test_a_cell_is_hidden_if_one_pixel_of_it_is(y, x):
    mask = torch.zeros(2, 8, 12, dtype=torch.bool)
    mask[1, y, x] = True
    cells = hidden_cells(mask, 4)
    assert cells.dtype == torch.bool and cells.shape == (2, 2, 3)
    assert cells.nonzero().tolist() == [[1, y // 4, x // 4]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]), st.integers(0, 3), st.floats(0, 0.2))
@settings(max_examples=50, deadline=None)
def test_hidden_cells_are_those_within_ring_of_a_touched_cell(seed, downsampling, ring, share):
    """At borders too, and image by image."""
    mask = torch.from_numpy(
        np.random.default_rng(seed).random((2, 5 * downsampling, 7 * downsampling)) < share
    )
    cells = hidden_cells(mask, downsampling, ring)
    for image, found in zip(mask, cells, strict=True):
        touched = {(y // downsampling, x // downsampling) for y, x in image.nonzero().tolist()}
        expected = [
            [any(max(abs(r - y), abs(c - x)) <= ring for y, x in touched) for c in range(7)] for r in range(5)
        ]
        assert found.tolist() == expected


# filling


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 19), st.integers(1, 19), st.sampled_from([0.0, 0.3, 0.9, 1.0])
)
@settings(max_examples=60, deadline=None)
def test_filling_reads_known_pixels_only_and_keeps_them(seed, height, width, share):
    """Bit for bit: known pixels as they were, and the same result whatever lies under the mask, NaN included."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, height, width, generator=generator)
    mask = torch.rand(2, height, width, generator=generator) < share
    hidden = mask[:, None].expand_as(images)
    filled = fill_hidden(images, mask)
    assert torch.equal(filled[~hidden], images[~hidden])
    assert torch.equal(filled, fill_hidden(torch.where(hidden, torch.tensor(float("nan")), images), mask))
    assert torch.equal(
        filled, fill_hidden(torch.where(hidden, torch.rand(images.shape, generator=generator), images), mask)
    )
    for number in range(2):
        known = images[number][~hidden[number]]
        low, high = (float(known.min()), float(known.max())) if known.numel() else (0.5, 0.5)
        assert low - 1e-5 <= float(filled[number].min()) and float(filled[number].max()) <= high + 1e-5


def test_an_image_without_known_pixels_is_grey():
    filled = fill_hidden(torch.rand(2, 1, 5, 7), torch.tensor([True, False])[:, None, None].expand(2, 5, 7))
    assert (filled[0] == 0.5).all() and not (filled[1] == 0.5).all()


def test_the_hole_continues_its_surroundings():
    """A step from black to white with a hole across: left of the hole stays darker than right of it."""
    images = torch.zeros(1, 1, 16, 16)
    images[..., 8:] = 1
    mask = torch.zeros(1, 16, 16, dtype=torch.bool)
    mask[:, 4:12, 4:12] = True
    filled = fill_hidden(images, mask)[0, 0, 4:12]
    assert (filled[:, 4:12].diff(dim=1) >= -1e-6).all()
    assert filled[:, 4].mean() < 0.3 and filled[:, 11].mean() > 0.7


# files


@pytest.mark.parametrize("ending", ["png", "PNG", "jpg", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_images_are_written_in_the_format_of_their_ending(tmp_path, ending, mode):
    image = noise(mode)
    save_image(image, tmp_path / "new" / f"a.{ending}", {"seed": 3})
    with Image.open(tmp_path / "new" / f"a.{ending}") as again:
        assert again.format == {"jpg": "JPEG"}.get(ending, ending.upper()) and again.size == image.size
        if ending not in ("jpg", "webp"):
            assert np.array_equal(again, image)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [f"a.{ending}"]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("ending", ["jpg", "bmp", "webp", "png"])
def test_transparent_images_are_written_or_refused_in_one_line(tmp_path, mode, ending):
    """A result keeps its image's alpha; an ending that cannot hold it is no reason for a traceback."""
    try:
        save_image(noise(mode), tmp_path / f"a.{ending}")
    except ConfigError:
        assert not list(tmp_path.iterdir())
    else:
        assert open_image(tmp_path / f"a.{ending}").size == (24, 16)


def test_png_carries_its_settings(tmp_path):
    metadata = {"seed": 3, "labels": "0..9", "note": "Ünïcode", "guidance": 1.5, "class": None}
    save_image(noise("RGB"), tmp_path / "a.png", metadata)
    with Image.open(tmp_path / "a.png") as image:
        assert json.loads(image.text["d3pm_image"]) == metadata


@pytest.mark.parametrize("name", ["a", "a.txt", "a.xyz", "png"])
def test_unwritable_endings_are_refused_before_anything_is_made(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^out=.*use an ending such as \.png"):
        save_image(noise("L"), tmp_path / "folder" / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_image(tmp_path, monkeypatch):
    save_image(noise("L", seed=1), tmp_path / "a.png")

    def breaks(self, path, **kwargs):
        path.write_bytes(b"half a pic")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", breaks)
    with pytest.raises(OSError, match="disk full"):
        save_image(noise("L", seed=2), tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    assert np.array_equal(open_image(tmp_path / "a.png"), noise("L", seed=1))


def test_captions_keep_to_their_images():
    font = ImageFont.load_default(size=12)
    for text in ("Forest", "HerbaceousVegetation", "", "a very long name of a class"):
        for width in (5, 40, 66, 300):
            found = fitted(text, font, width)
            assert found == text or (found.endswith("…") and text.startswith(found[:-1]))
            assert font.getlength(found) <= width or found == "…"
    assert (
        fitted("HerbaceousVegetation", font, 66) != "HerbaceousVegetation"
        and fitted("Forest", font, 66) == "Forest"
    )
