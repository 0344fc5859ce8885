"""Variations of an image, and ways from one image to another; untrained networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.edits import Spy, build, hole, make_image, model, same
from helpers.tokenizers import small, started
from PIL import Image

from d3pm_image.editing.interpolate import mix_vectors
from d3pm_image.tokenizer import Pixels


def test_strength_zero_is_the_reconstruction_without_the_denoiser(monkeypatch):
    pipe = build(started(small(4), 1), 16)
    spy, image = Spy(pipe, monkeypatch), make_image(16, 16)
    assert same(pipe.vary(image, 0.0, variants=2, correct_steps=2), pipe.reconstruct([image]) * 2)
    mask = hole(16, 16)
    inside = np.where(mask, np.asarray(pipe.reconstruct([image])[0]), np.asarray(image))
    assert np.array_equal(np.asarray(pipe.vary(image, 0.0, mask=mask)[0]), inside)
    assert not spy.predicted


@pytest.mark.parametrize("sampler", ["confidence", "ancestral", "first_hitting", "predictor_corrector"])
def test_strength_one_inside_a_mask_is_inpainting(sampler):
    pipe, image, mask = model(4), make_image(30, 20), hole(30, 20)
    for settings in ({"window": "crop"}, {"window": "tiles", "ring": 1, "feather": 2}):
        settings |= {"sampler": sampler, "seed": 7, "labels": 2}
        assert same(pipe.vary(image, 1.0, mask=mask, **settings), pipe.inpaint(image, mask, **settings))


@pytest.mark.parametrize("sampler", ["confidence", "ancestral"])
def test_more_strength_changes_more_codes(sampler, monkeypatch):
    pipe = build(started(small(4), 1), 16, share=0.0)
    spy, image = Spy(pipe, monkeypatch), make_image(16, 16)
    changed = []
    for strength in (0.1, 0.5, 0.9):
        pipe.vary(image, strength, variants=30, sampler=sampler)
        codes = spy.decoded[-1]
        changed.append(float((codes != pipe.tokenizer.encode(spy.encoded[-1])).double().mean()))
    assert changed[0] < changed[1] < changed[2]
    assert changed[0] < 0.2


def test_variations_see_what_is_under_their_mask_and_repaints_do_not():
    pipe, mask = model(4), hole(16, 16)
    base, other = np.asarray(make_image(16, 16)), np.asarray(make_image(16, 16, seed=8))
    images = [Image.fromarray(base), Image.fromarray(np.where(mask, other, base))]
    assert same(*(pipe.inpaint(image, mask, seed=1) for image in images))
    assert not same(*(pipe.vary(image, 0.2, mask=mask, seed=1) for image in images))


@pytest.mark.parametrize("mix", ["vectors", "cells"])
@pytest.mark.parametrize("downsampling", [4, "pixels"])
def test_the_ends_of_an_interpolation(downsampling, mix):
    """Without strength the two reconstructions; with it the variations of both under the same seed."""
    pipe = model(downsampling)
    side = pipe.image_size[0]
    a, b = make_image(side, side), make_image(20, 14, seed=5)
    frames = pipe.interpolate(a, b, 5, strength=0.0, mix=mix)
    assert len(frames) == 5 and same([frames[0], frames[-1]], pipe.reconstruct([a, b]))
    square = pipe.tensors([b])
    b = Image.fromarray((square[0, 0] * 255).round().byte().numpy())
    frames = pipe.interpolate(a, b, 4, strength=0.6, labels=[0, 2], mix=mix, seed=3, batch_size=3)
    assert same([frames[0], frames[-1]], [*pipe.vary(a, 0.6, 0, seed=3), *pipe.vary(b, 0.6, 2, seed=3)])


def test_cells_go_over_once_and_stay(monkeypatch):
    pipe = build(started(small(4), 1), 16)
    spy, a, b = Spy(pipe, monkeypatch), make_image(16, 16), make_image(16, 16, seed=5)
    pipe.interpolate(a, b, 9, strength=0.0, mix="cells")
    first, last = pipe.tokenizer.encode(pipe.tensors([a, b]))
    frames = torch.cat(spy.decoded)
    differ = first != last
    over = (frames == last)[:, differ]
    assert (over | (frames == first)[:, differ]).all() and (over[1:] >= over[:-1]).all()
    assert not over[0].any() and over[-1].all() and 0 < int(over[4].sum()) < int(differ.sum())
    assert not spy.predicted


def test_mixed_vectors_are_the_nearest_codes():
    """Of pixels as codes they are the levels between; of a codebook no other code is nearer; where the images agree nothing moves."""
    grey = Pixels(5, 1)
    frames = mix_vectors(
        grey, torch.tensor([0, 4, 2]), torch.tensor([4, 0, 2]), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    )
    assert frames.T.tolist() == [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2] * 5]
    tokenizer = started(small(4), 1)
    a, b = torch.arange(16), torch.arange(16).flip(0)
    book = tokenizer.vectors(a[None, None])[0, :, 0].T
    frames = mix_vectors(tokenizer, a, b, torch.tensor([0.0, 0.3, 1.0]))
    assert torch.equal(frames[0], a) and torch.equal(frames[2], b)
    between = 0.7 * book[a] + 0.3 * book[b]
    torch.testing.assert_close((book[frames[1]] - between).norm(dim=-1), torch.cdist(between, book).amin(-1))
