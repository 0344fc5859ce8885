"""What is written of transparent images: files, grids, animations, sheets, and what is said of their models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.edits import model
from helpers.tokenizers import small, started
from helpers.transparent import icons
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.cli import main
from d3pm_image.config.data import KINDS
from d3pm_image.editing.results import write_frames
from d3pm_image.imaging import SQUARES, Images, grid_image, labelled_grid, save_animation
from d3pm_image.packaging import card_of, samples
from d3pm_image.provenance import read_settings
from d3pm_image.testing import check_tokenizer
from d3pm_image.visualization.code_images import decoded_tiles


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small untrained model of transparent images."""
    return model(4, 4).save_pretrained(tmp_path_factory.mktemp("clear") / "model")


def alpha(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))[..., 3]


@pytest.mark.parametrize("channels", [2, 4])
def test_tokenizers_with_alpha_keep_the_contract(channels):
    check_tokenizer(started(small(4), channels), (16, 16))


def test_files_and_grids_of_generate_have_alpha(saved, tmp_path):
    main(["generate", str(saved), "--num-images", "3", "--out", str(tmp_path / "images"), "--steps", "2"])
    main(["generate", str(saved), "--num-images", "3", "--out", str(tmp_path / "grid.png"), "--steps", "2"])
    images = Pipeline.from_pretrained(saved).generate(3, steps=2)
    files = sorted((tmp_path / "images").glob("*.png"))
    assert [np.array_equal(Image.open(f), i) for f, i in zip(files, images, strict=True)] == [True] * 3
    with Image.open(files[0]) as first, Image.open(tmp_path / "grid.png") as grid:
        assert first.mode == grid.mode == "RGBA" and (alpha(grid) < 255).any()
    assert read_settings(files[0])["seed"] == 0


def test_grids_keep_alpha_and_captions_lie_on_white():
    grid = labelled_grid(icons(4, 64), [0, 1, 0, 1], ["a", "b"])
    assert grid.mode == "RGBA" and (alpha(grid) == 0).any()
    assert grid.getpixel((0, 0)) == (255, 255, 255, 255)
    assert grid_image(icons(2, 8, mode="LA")).mode == "RGBA"


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations_keep_alpha_and_nothing_of_the_frame_before(tmp_path, ending):
    frames = icons(3, 20)
    save_animation(frames, tmp_path / f"a.{ending}", 100, 100)
    with Image.open(tmp_path / f"a.{ending}") as animation:
        assert animation.n_frames == 3
        for number, frame in enumerate(frames):
            animation.seek(number)
            wanted = alpha(frame) if ending == "webp" else np.where(alpha(frame) < 128, 0, 255)
            assert np.array_equal(alpha(animation), wanted)


def test_strips_and_notebook_sheets_show_a_chequerboard(tmp_path):
    frames = icons(3, 32)
    write_frames(frames, frames[:2], tmp_path / "strip.png", 100, {})
    assert Image.open(tmp_path / "strip.png").mode == "RGB"
    (tmp_path / "sheet.png").write_bytes(Images(frames)._repr_png_() or b"")
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    assert {sheet.getpixel((3, 3)), sheet.getpixel((13, 3))} == {(s,) * 3 for s in SQUARES}


def test_steps_of_a_decode_show_a_chequerboard():
    pipe = model(4, 4)
    codes = torch.zeros(1, 16, dtype=torch.int64)
    tiles = decoded_tiles(codes, codes > 0, pipe.grid, pipe.tokenizer_decode)
    assert [tile.mode for tile in tiles] == ["RGB"]


def test_cards_name_transparent_images(saved):
    pipe = Pipeline.from_pretrained(saved)
    assert KINDS[4] in card_of(pipe, "clear", "MIT", "", False)
    assert samples(pipe)[:2] == b"\xff\xd8"  # a JPEG, which holds no alpha


def test_a_reconstruction_keeps_alpha(saved):
    pipe = Pipeline.from_pretrained(saved)
    assert [image.mode for image in pipe.reconstruct(icons(2))] == ["RGBA"] * 2
