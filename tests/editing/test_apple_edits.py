"""Edits on a device without float64: the images of the CPU."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.apple import OnApple, apple_machine
from helpers.edits import hole, make_image, model, pixels
from helpers.tokenizers import small, started

from d3pm_image.editing.receptive import disturbed_shares

WIDTH, HEIGHT = 21, 19
IMAGE, MASK = make_image(WIDTH, HEIGHT), hole(WIDTH, HEIGHT)
EDITS = {
    "inpaint": lambda pipe: pipe.inpaint(IMAGE, MASK, variants=2, seed=1, feather=2, ring=1),
    "inpaint in windows": lambda pipe: pipe.inpaint(IMAGE, MASK, window="tiles", seed=1, sampler="ancestral"),
    "outpaint": lambda pipe: pipe.outpaint(IMAGE, left=4, bottom=9, seed=2),
    "edit": lambda pipe: pipe.edit(IMAGE, MASK, "class 2", strength=0.6, guidance=1.5, seed=3),
    "vary": lambda pipe: pipe.vary([IMAGE, IMAGE], 0.5, labels=[0, 1], seed=4)[1],
    "interpolate vectors": lambda pipe: pipe.interpolate(
        IMAGE, make_image(9, 9, seed=5), 3, seed=6, labels=[0, 2]
    ),
    "interpolate cells": lambda pipe: pipe.interpolate(
        IMAGE, make_image(9, 9, seed=5), 3, seed=6, mix="cells"
    ),
    "reconstruct": lambda pipe: pipe.reconstruct([IMAGE]),
}


@pytest.mark.parametrize("downsampling", [2, "pixels"])
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_edits_are_those_of_the_cpu(edit, downsampling):
    pipe = model(downsampling)
    expected = pixels(edit(pipe))
    with apple_machine():
        there = deepcopy(pipe).to("mps")
        found = pixels(edit(there))
    assert all(isinstance(value, OnApple) for value in there.denoiser.parameters())
    for a, b in zip(expected, found, strict=True):  # an image is decoded alone or with others
        assert np.abs(a.astype(int) - b).max() <= 1


@torch.no_grad()
def test_a_hole_is_felt_there_as_on_the_cpu():
    tokenizer, random = started(small(2), 1), torch.Generator().manual_seed(0)
    images = torch.rand(2, 1, 16, 16, generator=random)
    masks = torch.zeros(2, 16, 16, dtype=torch.bool)
    masks[:, 4:9, 6:11] = True
    expected = disturbed_shares(tokenizer, images, masks, 2)
    with apple_machine() as device:
        found = disturbed_shares(deepcopy(tokenizer).to(device), images.to(device), masks.to(device), 2)
    assert found == expected and max(found) > 0
