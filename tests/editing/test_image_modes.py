"""What a painting leaves of an image: known pixels bit for bit, in every mode."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.odd_images import HEIGHT, MODES, WIDTH, make_image, painting, weights
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.image_files.image import paste
from d3pm_image.editing.image_files.palette import read_palette
from d3pm_image.imaging import full_level, plain

EXACT = ["L", "LA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "P", "PA"]  # show any painting exactly


def opacity(image: Image.Image) -> np.ndarray:
    return np.asarray((image.convert("LA") if image.mode == "La" else image).convert("RGBA").getchannel("A"))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_pixels_of_weight_0_keep_their_bits_and_others_are_painted(mode, channels):
    image, weight = make_image(mode), weights()
    before = image.tobytes()
    image.info |= {"dpi": (72, 72), "icc_profile": b"profile"}
    result = paste(image, painting(channels), weight)
    assert image.tobytes() == before
    assert result.mode == mode and result.size == image.size and result.info == image.info
    kept, new = np.asarray(image), np.asarray(result)
    assert kept.dtype == new.dtype and np.array_equal(kept[weight == 0], new[weight == 0])
    assert not np.array_equal(kept[weight == 1], new[weight == 1])
    assert (opacity(result)[weight == 1] == 255).all()


@pytest.mark.parametrize("mode", EXACT)
def test_pixels_of_weight_1_show_the_painting(mode):
    weight = (weights() == 1).astype(float)
    result = paste(make_image(mode), painting(), weight)
    channels = 1 if mode[0] == "L" else 3
    expected = plain(painting(), channels)
    shown = plain(result, channels) if mode != "RGBa" else result.convert("RGBA").convert("RGB")
    difference = np.abs(np.asarray(shown).astype(int) - np.asarray(expected))[weight == 1]
    assert difference.max() <= (0 if mode != "CMYK" else 1)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV"])
def test_other_colour_spaces_come_near_the_painting(mode):
    """Eight bits per band of these do not hold every colour; Pillow's own round trip is the measure."""
    result = np.asarray(paste(make_image(mode), painting(), np.ones((HEIGHT, WIDTH))))
    assert np.array_equal(result, np.asarray(painting().convert(mode)))


@pytest.mark.parametrize("mode", MODES)
def test_no_weight_changes_nothing(mode):
    image = make_image(mode)
    result = paste(image, painting(), np.zeros((HEIGHT, WIDTH)))
    assert (
        result is not image
        and result.tobytes() == image.tobytes()
        and result.getpalette() == image.getpalette()
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "I;16", "I;16B", "I", "F", "LA", "RGBA"])
@given(share=st.floats(0.01, 0.99))
@example(share=0.4047612267154584)  # half a level, which float32 misses
@settings(max_examples=15, deadline=None)
def test_a_soft_edge_lies_between_image_and_painting(mode, share):
    image = make_image(mode)
    if mode.endswith("A"):
        image.putalpha(255)
    end = np.asarray(paste(image, painting(), np.ones((HEIGHT, WIDTH)))).astype(float)
    middle = np.asarray(paste(image, painting(), np.full((HEIGHT, WIDTH), share))).astype(float)
    expected = np.asarray(image).astype(float) * (1 - share) + end * share
    assert np.abs(middle - expected).max() <= (1e-6 if mode == "F" else 0.5 + 1e-6)


def test_a_soft_edge_over_transparency_does_not_show_what_was_under_it():
    """Half a painting over a pixel that cannot be seen is the painting at half opacity, whatever colour was there."""
    for under in (0, 200):
        image = Image.fromarray(np.full((1, 1, 4), [under, under, under, 0], np.uint8))
        result = paste(image, Image.new("RGB", (1, 1), (10, 60, 90)), np.full((1, 1), 0.5))
        assert result.getpixel((0, 0)) == (10, 60, 90, 128)


# levels


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I"])
def test_sixteen_bits_are_painted_in_steps_of_257(mode):
    result = paste(make_image(mode), painting(1), (weights() == 1).astype(float))
    assert np.array_equal(
        np.asarray(result)[weights() == 1], np.asarray(painting(1))[weights() == 1].astype(int) * 257
    )
    assert np.array_equal(
        np.asarray(plain(result, 1))[weights() == 1], np.asarray(painting(1))[weights() == 1]
    )


@pytest.mark.parametrize(("top", "full"), [(1, 1), (200, 255), (255, 255), (256, 65535), (65535, 65535)])
def test_the_full_level_of_floating_point_is_read_from_known_pixels_alone(top, full):
    levels = np.full((2, 3), top, np.float32)
    assert full_level(Image.fromarray(levels)) == full
    levels[0, 0] = 70_000
    known = np.ones((2, 3), bool)
    known[0, 0] = False
    image = Image.fromarray(levels)
    assert full_level(image) == 65535 and full_level(image, known) == full
    assert np.unique(np.asarray(plain(image, 1, known))[known]) == round(top * 255 / full)
    painted = paste(image, Image.new("L", (3, 2), 51), (~known).astype(float))
    assert painted.getpixel((0, 0)) == pytest.approx(51 * full / 255)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -3.0])
def test_strange_numbers_are_kept_and_do_not_spread(value):
    levels = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    levels[0, :2] = value
    weight = np.zeros((HEIGHT, WIDTH))
    weight[0, 1] = 1
    result = np.asarray(paste(Image.fromarray(levels), painting(1), weight))
    assert np.array_equal(result[weight == 0], levels[weight == 0], equal_nan=True)
    assert result[0, 1] == pytest.approx(np.asarray(painting(1))[0, 1] / 255)
    assert np.asarray(plain(Image.fromarray(levels), 1))[0, 0] in (0, 255)


def test_black_and_white_is_cut_at_half():
    image, weight = Image.new("1", (4, 1), 1), np.array([[1.0, 1.0, 1.0, 0.0]])
    result = paste(image, Image.fromarray(np.array([[0, 127, 128, 0]], np.uint8)), weight)
    assert np.asarray(result).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_paint_of_the_transparent_colour_is_moved_by_one_level(mode):
    """Files of these modes may call one colour transparent; what is painted is opaque all the same."""
    level = 256 if mode == "I;16" else 1
    image = Image.new(mode, (3, 1), 0)
    image.info["transparency"] = 257 * 9 if mode == "I;16" else 9 if mode == "L" else (9, 9, 9)
    result = np.asarray(
        paste(image, Image.fromarray(np.array([[9, 10, 9]], np.uint8)), np.array([[1.0, 1.0, 0.0]]))
    )
    last = result if result.ndim == 2 else result[..., -1]
    assert last.tolist() == [[8, 10, 0] if level == 1 else [9 * 257 - 1, 2570, 0]]


# palettes


def few(entries: int = 4, **info) -> Image.Image:
    """An image of ``entries`` grey indices, each in use."""
    image = Image.frombytes(
        "P", (WIDTH, HEIGHT), (np.arange(WIDTH * HEIGHT) % entries).astype(np.uint8).tobytes()
    )
    image.putpalette(np.linspace(0, 255, entries).astype(np.uint8).repeat(3).tobytes())
    image.info |= info
    return image


def colours(image: Image.Image) -> np.ndarray:
    return np.array(image.getpalette("RGB")).reshape(-1, 3)


def test_paint_that_the_palette_has_leaves_it_as_it_is():
    image = few()
    grey = Image.fromarray(np.full((HEIGHT, WIDTH), 170, np.uint8))
    result = paste(image, grey, np.ones((HEIGHT, WIDTH)))
    assert np.array_equal(colours(result), colours(image)) and (np.asarray(result) == 2).all()


@pytest.mark.parametrize("entries", [2, 4, 100])
def test_a_palette_grows_by_colours_of_the_painting(entries):
    """117 pixels, of which at most 117 new colours fit beside those in use: all of them exact."""
    image, weight = few(entries), (weights() == 1).astype(float)
    result = paste(image, painting(), weight)
    assert np.array_equal(np.asarray(image)[weight == 0], np.asarray(result)[weight == 0])
    used = np.unique(np.asarray(image)[weight == 0])
    assert np.array_equal(colours(result)[used], colours(image)[used])
    assert np.array_equal(np.asarray(result.convert("RGB"))[weight == 1], np.asarray(painting())[weight == 1])


def test_a_full_palette_gives_its_nearest_colours():
    random = np.random.default_rng(3)
    image = Image.frombytes("P", (16, 32), np.arange(512).astype(np.uint8).tobytes())
    image.putpalette(random.integers(0, 256, 768, np.uint8).tobytes())
    weight = np.zeros((32, 16))
    weight[:16] = 1  # the other half uses all 256
    wanted = random.integers(0, 256, (32, 16, 3), np.uint8)
    result = paste(image, Image.fromarray(wanted), weight)
    assert result.getpalette() == image.getpalette() and np.array_equal(
        np.asarray(result)[16:], np.asarray(image)[16:]
    )
    distance = ((wanted[:16, :, None].astype(int) - colours(image)) ** 2).sum(-1)
    index = np.asarray(result)[:16]
    assert np.array_equal(
        np.take_along_axis(distance, index[..., None].astype(int), -1)[..., 0], distance.min(-1)
    )


def test_many_new_colours_share_few_free_entries():
    random = np.random.default_rng(3)
    image = Image.frombytes("P", (64, 64), (np.arange(4096) % 250).astype(np.uint8).tobytes())
    image.putpalette(random.integers(0, 40, 768, np.uint8).tobytes())
    weight = np.zeros((64, 64))
    weight[:32] = 1
    smooth = Image.fromarray(np.indices((64, 64)).sum(0).repeat(3).reshape(64, 64, 3).astype(np.uint8) + 100)
    result = paste(image, smooth, weight)
    shown, wanted = np.asarray(result.convert("RGB"))[:32].astype(int), np.asarray(smooth)[:32].astype(int)
    assert np.array_equal(np.asarray(result)[32:], np.asarray(image)[32:])
    assert np.abs(shown - wanted).mean() < 10 and len(colours(result)) == 256
    assert np.array_equal(colours(result)[:250], colours(image)[:250])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00", b"\x80\x00\xff\x10"])
def test_a_transparent_index_stays_transparent_and_is_not_painted_with(transparency):
    image, weight = few(transparency=transparency), (weights() == 1).astype(float)
    for paint in (painting(), Image.new("L", (WIDTH, HEIGHT), 85)):  # 85 is index 1's colour
        result = paste(image, paint, weight)
        assert np.array_equal(np.asarray(image)[weight == 0], np.asarray(result)[weight == 0])
        assert np.array_equal(opacity(result)[weight == 0], opacity(image)[weight == 0])
        assert (opacity(result)[weight == 1] == 255).all()


def test_a_translucent_entry_that_no_known_pixel_uses_may_become_opaque():
    image = few(transparency=b"\x80\x80\x80\x80")
    result = paste(image, painting(), np.ones((HEIGHT, WIDTH)))
    assert (opacity(result) == 255).all() and np.array_equal(
        np.asarray(result.convert("RGB")), np.asarray(painting())
    )


def test_palettes_that_hold_their_opacity():
    image = few()
    image.putpalette(bytes([0, 0, 0, 255, 9, 9, 9, 0, 90, 90, 90, 128, 255, 0, 0, 255]), "RGBA")
    weight = (weights() == 1).astype(float)
    result = paste(image, painting(), weight)
    assert (
        np.array_equal(opacity(result)[weight == 0], opacity(image)[weight == 0])
        and 0 in opacity(image)[weight == 0]
    )
    assert (opacity(result)[weight == 1] == 255).all()
    assert np.array_equal(read_palette(result)[0][:4], read_palette(image)[0][:4])


def test_looking_at_a_palette_does_not_change_it(tmp_path):
    """Pillow's own conversion does, and writes GIFs of other colours afterwards."""
    image = few(transparency=1)
    plain(image, 3)
    result = paste(image, painting(), (weights() == 1).astype(float))
    result.save(tmp_path / "a.gif")
    again = Image.open(tmp_path / "a.gif")
    assert np.array_equal(np.asarray(again.convert("RGBA")), np.asarray(result.convert("RGBA")))


@pytest.mark.parametrize(
    ("paint", "weight", "name"),
    [
        (Image.new("RGB", (HEIGHT, WIDTH)), np.ones((HEIGHT, WIDTH)), "painted"),
        (Image.new("RGB", (WIDTH, HEIGHT)), np.ones((WIDTH, HEIGHT)), "weight"),
        (Image.new("RGB", (WIDTH, HEIGHT)), np.full((HEIGHT, WIDTH), 1.5), "weight"),
        (Image.new("RGB", (WIDTH, HEIGHT)), np.full((HEIGHT, WIDTH), np.nan), "weight"),
    ],
)
def test_other_sizes_and_weights_are_refused(paint, weight, name):
    with pytest.raises(ConfigError, match=f"^{name}="):
        paste(make_image("RGB"), paint, weight)
