"""Edits a person can trust: nothing hidden leaks, nothing known changes, at every scale, with every sampler; untrained networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.edits import Spy, build, hole, make_image, model, same
from helpers.samplers import SAMPLERS, named
from helpers.tokenizers import small, started
from PIL import Image

from d3pm_image.config import ConfigError
from d3pm_image.editing.masks import Box
from d3pm_image.editing.sliding import starts, window_order

WINDOWS = ["whole", "crop", "tiles"]


# what a repaint promises


@pytest.mark.parametrize("ring, feather", [(0, 0), (1, 3)])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("downsampling", [1, 2, 4, 8, 16, "pixels"])
def test_hidden_pixels_never_reach_the_result(downsampling, window, ring, feather):
    """Noise, black or another image under the mask: the same result bit for bit; known pixels do matter."""
    pipe = model(downsampling)
    width, height = pipe.image_size[1] + 13, pipe.image_size[0] + 5
    mask = hole(width, height)
    settings = {"window": window, "seed": 3, "variants": 2, "ring": ring, "feather": feather, "steps": 2}
    base = np.asarray(make_image(width, height))
    hidden = [
        np.random.default_rng(1).integers(0, 256, base.shape),
        np.zeros_like(base),
        np.asarray(make_image(width, height, seed=9)),
    ]
    results = [
        pipe.inpaint(Image.fromarray(np.where(mask, h, base).astype(np.uint8)), mask, **settings)
        for h in hidden
    ]
    assert same(results[0], results[1]) and same(results[0], results[2])
    if not ring:  # a ring may leave nothing known on grids this small
        other = np.where(mask, base, 255 - base).astype(np.uint8)
        painted = pipe.inpaint(Image.fromarray(other), mask, **settings)
        assert not np.array_equal(np.asarray(painted[0])[mask], np.asarray(results[0][0])[mask])


@pytest.mark.parametrize("window", [*WINDOWS, "auto"])
@pytest.mark.parametrize("size", [(16, 16), (7, 5), (37, 16), (16, 41), (61, 33)])
def test_known_pixels_come_back_exactly_and_a_feather_stays_in_its_ring(size, window):
    pipe, (width, height) = model(4), size
    image, mask = make_image(*size), hole(*size)
    settings = {"window": window, "seed": 1, "steps": 2}
    for ring in (0, 1):
        result = np.asarray(pipe.inpaint(image, mask, ring=ring, **settings)[0])
        assert np.array_equal(result[~mask], np.asarray(image)[~mask])
        soft = np.asarray(pipe.inpaint(image, mask, ring=ring, feather=4, **settings)[0])
        assert np.array_equal(soft[mask], result[mask])
        changed = np.argwhere((soft != np.asarray(image)) & ~mask)
        scale = max(1, width / 16, height / 16) if window in ("whole", "auto", "crop") else 1
        reach = np.ceil(4 * (ring + 1) * scale) + 1
        assert all(np.abs(np.argwhere(mask) - place).max(1).min() <= min(4, reach) for place in changed)
        assert len(changed) or not ring


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "I;16", "I", "F", "CMYK"])
def test_every_mode_comes_back_in_its_mode(mode):
    pipe, mask = model(4, 3), hole(21, 18)
    grey = np.asarray(make_image(21, 18)).astype(np.int32) * 200
    levels = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    image = (
        Image.fromarray(grey.astype(levels[mode]))
        if mode in levels
        else make_image(21, 18, "RGB").convert(mode)
    )
    for result in (*pipe.inpaint(image, mask, steps=2), *pipe.vary(image, 0.5, mask=mask, steps=2)):
        assert result.mode == mode and result.size == image.size
        assert np.array_equal(np.asarray(result)[~mask], np.asarray(image)[~mask])


def test_an_empty_mask_gives_the_image_back_without_a_network(monkeypatch):
    pipe = build(started(small(4), 1), 16)
    spy = Spy(pipe, monkeypatch)
    image = make_image(30, 20, "RGBA")
    results = pipe.inpaint(image, np.zeros((20, 30), bool), variants=2, feather=3)
    assert same(results, [image, image]) and results[0] is not image and results[0].mode == "RGBA"
    assert same(pipe.outpaint(image), [image])
    assert not spy.encoded and not spy.decoded and not spy.predicted


@pytest.mark.parametrize("window", [*WINDOWS, "auto"])
def test_a_full_mask_is_generation(window):
    """At the model's size the codes are those of generate, whatever the image."""
    pipe, full = model(4), np.ones((16, 16), bool)
    wanted = pipe.generate(3, labels=1, seed=5)
    assert same(pipe.inpaint(make_image(16, 16), full, labels=1, variants=3, seed=5, window=window), wanted)
    assert same(pipe.vary(make_image(16, 16), 1.0, labels=1, variants=3, seed=5, window=window), wanted)


@pytest.mark.parametrize("window", [*WINDOWS, "auto"])
def test_images_of_a_batch_do_not_know_of_each_other(window):
    """Different sizes, masks and labels; a list of seeds gives each result what its seed alone gives. One of them is untouched."""
    pipe, sizes = model(4), [(16, 16), (35, 22), (16, 16), (9, 40)]
    images = [make_image(*size, seed=i) for i, size in enumerate(sizes)]
    masks = [hole(*size, seed=i) for i, size in enumerate(sizes)]
    masks[2][:] = False
    settings = {"window": window, "feather": 2, "ring": 1, "steps": 2}
    together = pipe.inpaint(images, masks, labels=[0, 1, 2, None], variants=2, seed=range(8), **settings)
    assert [len(results) for results in together] == [2] * 4 and same(together[2], [images[2]] * 2)
    for i, label in enumerate([0, 1, 2, None]):
        for j in range(2):
            assert same(
                [together[i][j]], pipe.inpaint(images[i], masks[i], label, seed=2 * i + j, **settings)
            )
    numbered = pipe.inpaint(images, masks, variants=2, seed=4, batch_size=64, **settings)
    one_by_one = pipe.inpaint(images, masks, variants=2, seed=4, batch_size=1, **settings)
    assert all(same(a, b) for a, b in zip(numbered, one_by_one, strict=True))
    assert any(not same(results[:1], results[1:]) for results in numbered)


@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_every_sampler_repaints_and_varies(settings):
    pipe, image, mask = model(4), make_image(30, 20), hole(30, 20)
    for window in ("crop", "tiles"):
        settings = {**settings, "window": window, "steps": 4, "seed": 2}
        for results in (
            pipe.inpaint(image, mask, variants=2, **settings),
            pipe.vary(image, 0.6, mask=mask, variants=2, **settings),
        ):
            for result in results:
                assert np.array_equal(np.asarray(result)[~mask], np.asarray(image)[~mask])
                assert not np.array_equal(np.asarray(result)[mask], np.asarray(image)[mask])
        assert same(results, pipe.vary(image, 0.6, mask=mask, variants=2, **settings))


def test_one_mask_may_serve_all_images():
    pipe, images = model(4), [make_image(16, 16, seed=i) for i in range(2)]
    box, mask = Box(3, 4, 6, 5), np.zeros((16, 16), bool)
    mask[4:9, 3:9] = True
    expected = pipe.inpaint(images, [mask, mask], steps=2)
    for one in (box, mask, np.stack([mask, mask]), [box, mask]):
        assert all(same(a, b) for a, b in zip(pipe.inpaint(images, one, steps=2), expected, strict=True))


def test_a_watch_sees_every_window():
    pipe, frames = model(4), []
    pipe.inpaint(make_image(40, 16), np.ones((16, 40), bool), window="tiles", steps=2, callback=frames.append)
    assert [f.step for f in frames] == [0, 1, 2] * (len(frames) // 3) and len(frames) == 3 * 4
    assert all(f.x_t.shape == (1, 16) for f in frames)


def test_a_feather_gets_the_ring_that_it_needs(monkeypatch):
    """Without a ring of the user's own a feather fades over its whole width, also where the mask ends with a cell."""
    pipe = build(started(small(4), 1), 32)
    image, mask = make_image(32, 32), np.zeros((32, 32), bool)
    mask[:, 16:] = True
    soft, ringed = (pipe.inpaint(image, mask, feather=6, ring=ring, seed=1)[0] for ring in (None, 2))
    assert same([soft], [ringed])
    changed = (np.asarray(soft) != np.asarray(image)).any(0)
    assert changed[10:16].all() and not changed[:10].any()
    assert same(pipe.inpaint(image, mask, seed=1), pipe.inpaint(image, mask, ring=0, seed=1))


# what is encoded


def test_a_photograph_is_encoded_around_its_hole_alone(monkeypatch):
    """512 × 384 pixels, a model of 128: one canvas of 128 × 128 at the image's own scale, whatever lies elsewhere."""
    pipe = build(started(small(8), 3), 128)
    image, mask = make_image(512, 384, "RGB"), np.zeros((384, 512), bool)
    mask[300:340, 470:510] = True
    spy = Spy(pipe, monkeypatch)
    first = pipe.inpaint(image, mask, steps=2, variants=2)
    assert [tuple(x.shape) for x in spy.encoded] == [(1, 3, 128, 128)] and [
        tuple(c.shape) for c in spy.decoded
    ] == [(2, 16, 16)]
    known = ~mask[256:384, 384:512]
    shown = (spy.encoded[0][0] * 255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(shown[known], np.asarray(image)[256:384, 384:512][known])
    elsewhere = np.array(image)
    elsewhere[:256], elsewhere[:, :384] = 0, 255
    second = pipe.inpaint(Image.fromarray(elsewhere), mask, steps=2, variants=2)
    assert all(
        np.array_equal(np.asarray(a)[mask], np.asarray(b)[mask]) for a, b in zip(first, second, strict=True)
    )


def test_tiles_encode_and_decode_the_neighbourhood_once(monkeypatch):
    """Known codes reach the decoder as they were encoded, and every window has the trained grid."""
    pipe = build(started(small(4), 1), 16)
    spy, mask = Spy(pipe, monkeypatch), np.zeros((50, 90), bool)
    mask[20:32, 25:60] = True
    pipe.inpaint(make_image(90, 50), mask, window="tiles", steps=2, ring=0)
    assert [tuple(x.shape) for x in spy.encoded] == [(1, 1, 28, 52)] and [
        tuple(c.shape) for c in spy.decoded
    ] == [(1, 7, 13)]
    assert {tuple(x.shape) for x in spy.predicted} == {(1, 16)}
    codes = started(small(4), 1).encode(spy.encoded[0])
    kept = codes == spy.decoded[0]
    assert kept[0, :2].all() and kept[0, 5:].all() and not kept[0, 2:5, 3:12].all()


@pytest.mark.parametrize("downsampling", [1, 2, 4, 8, 16, "pixels"])
def test_images_smaller_than_the_model_are_padded_and_the_padding_thrown_away(downsampling, monkeypatch):
    pipe = model(downsampling)
    spy = Spy(pipe, monkeypatch)
    side = pipe.image_size[0]
    image, mask = make_image(side - 3, side - 5), np.zeros((side - 5, side - 3), bool)
    mask[1:, -2:] = True
    for window in ("crop", "tiles"):
        result = pipe.inpaint(image, mask, window=window, steps=2)[0]
        assert result.size == image.size and np.array_equal(
            np.asarray(result)[~mask], np.asarray(image)[~mask]
        )
    assert {tuple(x.shape[2:]) for x in spy.encoded} == {(side, side)}


# windows of cells


def test_windows_cover_what_is_unknown_and_start_beside_what_is_known():
    unknown = torch.zeros(9, 20, dtype=torch.bool)
    unknown[:, 8:] = True
    assert window_order(unknown, (9, 8)) == [(0, 4), (0, 8), (0, 12)]
    assert window_order(unknown.flip(1), (9, 8)) == [(0, 8), (0, 4), (0, 0)]
    assert (
        window_order(torch.ones(4, 4, dtype=torch.bool), (4, 4)) == [(0, 0)]
        and window_order(~unknown & False, (9, 8)) == []
    )
    for seed in range(20):
        unknown = torch.rand(11, 13, generator=torch.Generator().manual_seed(seed)) < 0.3
        left = unknown.clone()
        for row, column in window_order(unknown, (4, 6)):
            assert left[row : row + 4, column : column + 6].any() and row + 4 <= 11 and column + 6 <= 13
            left[row : row + 4, column : column + 6] = False
        assert not left.any()


@pytest.mark.parametrize("length, side, expected", [(7, 7, [0]), (14, 7, [0, 3, 6, 7]), (9, 1, list(range(9))), (16, 8, [0, 4, 8]), (9, 8, [0, 1])])  # fmt: skip
def test_windows_overlap_by_half_and_end_at_the_edge(length, side, expected):
    assert starts(length, side) == expected


# variations


# from one image to another


# beyond the border, and other classes


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
@pytest.mark.parametrize("window", [*WINDOWS, "auto"])
def test_outpainting_keeps_the_image_and_fills_what_is_new(window, mode):
    pipe = model(4, 1)
    image = (
        make_image(16, 13).convert("RGB").convert(mode)
        if mode != "I;16"
        else Image.fromarray(np.asarray(make_image(16, 13)).astype(np.uint16) * 257)
    )
    result = pipe.outpaint(image, left=5, top=0, right=11, bottom=3, window=window, steps=2, seed=2)[0]
    assert result.mode == mode and result.size == (32, 16)
    assert np.array_equal(np.asarray(result)[:13, 5:21], np.asarray(image))
    if mode == "RGBA":
        assert (np.asarray(result)[:, 21:, 3] == 255).all()


def test_outpainting_keeps_the_scale_where_it_outgrows_the_model(monkeypatch):
    pipe = build(started(small(4), 1), 16)
    spy = Spy(pipe, monkeypatch)
    pipe.outpaint(make_image(16, 16), right=9, steps=2)
    pipe.outpaint(make_image(10, 12), right=2, steps=2)
    assert [tuple(x.shape[2:]) for x in spy.encoded] == [(16, 20), (16, 16)]
    several = pipe.outpaint([make_image(16, 16), make_image(10, 12)], left=3, variants=2, steps=2)
    assert [[r.size for r in results] for results in several] == [[(19, 16)] * 2, [(13, 12)] * 2]


def test_an_edit_repaints_a_region_as_another_class():
    pipe, image, box = model(4), make_image(16, 16), Box(4, 4, 8, 8)
    mask = box.mask((16, 16))
    results = [pipe.edit(image, box, label, seed=2)[0] for label in (0, "class 1", 2)]
    assert same(results[:1], pipe.inpaint(image, mask, 0, seed=2)) and not same(results[:1], results[2:])
    assert same(pipe.edit(image, box, 1, strength=0.4), pipe.vary(image, 0.4, 1, mask=mask))
    with pytest.raises(ConfigError, match=r"^label=None: name the class"):
        pipe.edit(image, box, None)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"window": "half"}, "window"), ({"ring": -1}, "ring"), ({"feather": -1}, "feather"), ({"strength": 1.5}, "strength"),
        ({"strength": float("nan")}, "strength"), ({"variants": 0}, "variants"), ({"seed": -1}, "seed"), ({"seed": [1, 2]}, "seed"),
        ({"batch_size": 0}, "batch_size"), ({"labels": 7}, "labels"), ({"steps": 0}, "steps"), ({"steps": 99}, "steps"),
    ],
)  # fmt: skip
def test_impossible_edits_name_the_field(change, field):
    with pytest.raises(ConfigError, match=rf"^{field}="):
        model(4).inpaint(make_image(16, 16), hole(16, 16), **change)


def test_images_and_masks_must_fit():
    pipe, image = model(4), make_image(16, 16)
    with pytest.raises(ConfigError, match="one mask for each of the 2"):
        pipe.inpaint([image, image], [hole(16, 16)])
    with pytest.raises(ConfigError, match=r"^mask="):
        pipe.inpaint(image, np.zeros((9, 16), bool))
    with pytest.raises(ConfigError, match=r"^image="):
        pipe.inpaint([], [])
    with pytest.raises(ConfigError, match=r"^left="):
        pipe.outpaint(image, left=-1)
    with pytest.raises(ConfigError, match="are too many"):  # before anything is allocated
        pipe.outpaint(image, left=10_000, right=10_000, top=10_000)
    with pytest.raises(ConfigError, match=r"^frames="):
        pipe.interpolate(image, image, 1)
    with pytest.raises(ConfigError, match=r"^mix="):
        pipe.interpolate(image, image, 3, mix="pixels")
    with pytest.raises(ConfigError, match=r"^seed="):
        pipe.interpolate(image, image, 3, seed=[1, 2, 3])
    with pytest.raises(TypeError, match="rings"):
        pipe.inpaint(image, hole(16, 16), rings=2)
