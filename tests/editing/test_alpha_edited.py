"""Edits with a model of transparent images: what is drawn has its own alpha, known pixels stay bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.edits import hole, make_image, model
from helpers.odd_images import HEIGHT, WIDTH, weights
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.editing.image_files.image import paste
from d3pm_image.editing.results import variants_sheet
from d3pm_image.imaging import SQUARES, on_chequerboard, plain

CORNER = np.zeros((16, 16), bool)
CORNER[:8, :8] = True


def icon(hidden: int = 0, mode: str = "RGBA") -> Image.Image:
    """A disc that is nothing outside, where colours of the seed ``hidden`` lie."""
    pixels = np.random.default_rng(hidden).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    inside = np.hypot(*(np.indices((16, 16)) - 7.5)) < 6
    pixels[inside], pixels[~inside, 3] = (200, 120, 40, 255), 0
    return Image.fromarray(pixels).convert(mode)


def drawing(pipe: Pipeline, level: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model paint one premultiplied colour and alpha."""
    colour = torch.tensor(level).view(1, -1, 1, 1)
    shape = lambda codes: (len(codes), -1, codes.shape[1] * 4, codes.shape[2] * 4)  # noqa: E731
    monkeypatch.setattr(pipe.tokenizer, "decode", lambda codes: colour.expand(*shape(codes)))


@pytest.mark.parametrize("hides", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_an_inpainted_corner_has_the_alpha_that_is_drawn(monkeypatch, alpha, hides):
    pipe, image = model(4, 4), icon(3)
    drawing(pipe, (0.5 * alpha, 0.0, alpha, alpha), monkeypatch)
    (result,) = pipe.inpaint(image, CORNER, seed=1, strength=1.0 if hides else 0.5)
    new, old = np.asarray(result), np.asarray(image)
    assert result.mode == "RGBA" and np.array_equal(new[~CORNER], old[~CORNER])
    wanted = [128, 0, 255, round(255 * alpha)] if alpha else [0, 0, 0, 0]
    assert (new[CORNER] == wanted).all()


def test_with_a_model_without_alpha_what_is_painted_is_opaque():
    (result,) = model(4, 3).inpaint(icon(3), CORNER, seed=1)
    new, old = np.asarray(result), np.asarray(icon(3))
    assert (new[CORNER, 3] == 255).all() and np.array_equal(new[~CORNER], old[~CORNER])


@pytest.mark.parametrize("channels, mode", [(4, "RGBA"), (2, "LA")])
@pytest.mark.parametrize("strength", [1.0, 0.4])
def test_hidden_colour_changes_nothing_that_is_drawn(channels, mode, strength):
    pipe = model(4, channels)
    clean, garbage = (
        np.asarray(pipe.inpaint(icon(seed, mode), CORNER, seed=2, strength=strength)[0]) for seed in (1, 2)
    )
    assert np.array_equal(clean[CORNER], garbage[CORNER])
    assert np.array_equal(garbage[~CORNER], np.asarray(icon(2, mode))[~CORNER])
    assert torch.equal(*(pipe.tokenizer.encode(pipe.tensors([icon(seed, mode)])) for seed in (1, 2)))


@pytest.mark.parametrize("window", ["crop", "tiles"])
def test_larger_images_keep_what_is_known(window):
    image = make_image(40, 30, "RGBA")
    mask = hole(40, 30)
    (result,) = model(4, 4).inpaint(image, mask, seed=1, window=window, feather=2)
    known = np.asarray(result)[~mask] == np.asarray(image)[~mask]
    assert known.all(-1).mean() > 0.5 and result.mode == "RGBA"
    (hard,) = model(4, 4).inpaint(image, mask, seed=1, window=window)
    assert np.array_equal(np.asarray(hard)[~mask], np.asarray(image)[~mask])
    assert (np.asarray(hard)[mask, 3] < 255).any()


def test_outpainting_and_interpolating_give_alpha(monkeypatch):
    pipe = model(4, 4)
    frames = pipe.interpolate(icon(1), icon(2), frames=3)
    assert [frame.mode for frame in frames] == ["RGBA"] * 3
    drawing(pipe, (0.0, 0.0, 0.0, 0.0), monkeypatch)
    (wider,) = pipe.outpaint(icon(1), right=4)
    assert wider.mode == "RGBA" and wider.size == (20, 16)
    assert not np.asarray(wider)[:, 16:].any()
    assert np.array_equal(np.asarray(wider)[:, :16], np.asarray(icon(1)))


# modes


def painting() -> Image.Image:
    """Left half nothing, right half opaque green."""
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[:, WIDTH // 2 :] = (10, 200, 30, 255)
    return Image.fromarray(pixels)


def keyed(mode: str) -> Image.Image:
    """An image with one transparent colour, entry or level."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (10, 200, 30))
    image.paste((90, 0, 0), (0, 0, 5, 5))
    image = (
        image.convert("P", palette=Image.Palette.ADAPTIVE, colors=8) if mode == "P" else image.convert(mode)
    )
    image.info["transparency"] = image.getpixel((0, 0))
    return image


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_one_transparent_colour_is_painted_where_nothing_is_drawn(mode):
    image, weight = keyed(mode), np.ones((HEIGHT, WIDTH))
    weight[:3] = 0
    result = paste(image, painting(), weight)
    assert result.mode == mode and result.info["transparency"] == image.info["transparency"]
    alpha, own = (np.asarray(plain(i, 4))[..., 3] for i in (result, image))
    assert np.array_equal(alpha[:3], own[:3]) and np.array_equal(
        np.asarray(result)[:3], np.asarray(image)[:3]
    )
    assert (alpha[3:, : WIDTH // 2] == 0).all() and (alpha[3:, WIDTH // 2 :] == 255).all()
    green = np.asarray(plain(painting().crop((WIDTH // 2, 0, WIDTH, 1)), 1 if mode == "L" else 3))
    shown = np.asarray(plain(result, 1 if mode == "L" else 3))[3:, WIDTH // 2 :]
    assert np.abs(shown.astype(int) - green.reshape(-1, *green.shape[2:])[0]).max() <= 1


def test_a_palette_with_levels_of_alpha_keeps_the_entry_for_nothing():
    image = keyed("P")
    image.info["transparency"] = bytes([255, 0, 128, 255])
    result = paste(image, painting(), weights() * 0 + 1)
    assert (np.asarray(result)[:, : WIDTH // 2] == 1).all() and result.info["transparency"][1] == 0


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "I;16", "1"])
def test_a_painting_lies_on_white_in_an_opaque_image(mode):
    image = Image.new(mode, (WIDTH, HEIGHT))
    result = plain(paste(image, painting(), np.ones((HEIGHT, WIDTH))), 3)
    assert (np.asarray(result)[:, : WIDTH // 2] == 255).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "La", "RGBa", "PA"])
def test_modes_with_alpha_take_that_of_the_painting(mode):
    image = Image.new("LA" if mode[0] == "L" else "RGBA", (WIDTH, HEIGHT), 255).convert(mode)
    result = paste(image, painting(), np.ones((HEIGHT, WIDTH)))
    alpha = np.asarray(plain(result, 4))[..., 3]
    assert (alpha[:, : WIDTH // 2] == 0).all() and (alpha[:, WIDTH // 2 :] == 255).all()


def test_a_soft_edge_fades_in_colour_and_alpha():
    image = Image.new("RGBA", (WIDTH, HEIGHT), (200, 0, 0, 255))
    clear = Image.new("RGBA", (WIDTH, HEIGHT), (0, 0, 0, 0))
    faded = np.asarray(paste(image, clear, np.full((HEIGHT, WIDTH), 0.25)))
    assert (faded == (200, 0, 0, 191)).all()  # no dark fringe of the colour under alpha 0


def test_sheets_show_transparency_on_a_chequerboard():
    sheet = variants_sheet(icon(), CORNER, [icon(1), icon(2)])
    tile = np.asarray(on_chequerboard(Image.new("RGBA", (4, 4))))
    assert sheet.mode == "RGB" and {int(v) for v in np.unique(tile)} <= set(SQUARES)
    assert sheet.getpixel((3, 3)) in {(s,) * 3 for s in SQUARES}
