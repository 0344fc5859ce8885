"""Image i under a seed is the same in a batch of any size, bit for bit: on a processor, in float32 and bf16, on one thread and on two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.marks import slow

from d3pm_image import Pipeline
from d3pm_image.config import DenoiserConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.precision import filled, logits_of

SIZES = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 13, 15, 16, 17, 24)


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def network(patch: int = 1, width: int = 48) -> Transformer:
    torch.manual_seed(0)
    denoiser = Transformer(DenoiserConfig(width=width, depth=2, heads=2, patch=patch), 40, 5).eval()
    for layer in denoiser.modules():
        if isinstance(layer, torch.nn.Linear):  # head and modulations begin at 0
            torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
    return denoiser


def inputs(count: int, tokens: int, codes: int, classes: int):
    draw = torch.Generator().manual_seed(1)
    x_t = torch.randint(codes + 1, (count, tokens), generator=draw)
    wanted = torch.rand(count, tokens, generator=draw) < 0.05
    wanted[0, 0] = True
    return (
        x_t,
        torch.rand(count, generator=draw),
        torch.randint(classes + 1, (count,), generator=draw),
        wanted,
    )


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize(
    ("grid", "patch"), [((7, 7), 1), ((2, 2), 1), ((1, 1), 1), ((8, 8), 2), ((2, 2), 2)], ids=str
)
@torch.no_grad()
def test_logits_of_an_image_do_not_depend_on_the_batch(grid, patch, bf16, threads):
    """Grids of few cells and few wanted positions as well."""
    denoiser = network(patch)
    *given, wanted = inputs(24, grid[0] * grid[1], 40, 5)
    for where in (None, wanted):
        whole = logits_of(denoiser, bf16, *given, grid, where)
        for size in SIZES:
            part = None if where is None else where[:size]
            assert torch.equal(
                logits_of(denoiser, bf16, *(value[:size] for value in given), grid, part), whole[:size]
            ), size


@torch.no_grad()
def test_logits_of_the_shipped_model_do_not_depend_on_the_batch(pipe, threads):
    x_t, kappa, labels, wanted = inputs(24, 49, pipe.tokenizer.num_codes, pipe.no_label)
    for bf16 in (False, True):
        whole = logits_of(pipe.denoiser, bf16, x_t, kappa, labels, pipe.grid, wanted)
        for size in (1, 2, 3, 5, 11):
            assert torch.equal(
                logits_of(
                    pipe.denoiser, bf16, x_t[:size], kappa[:size], labels[:size], pipe.grid, wanted[:size]
                ),
                whole[:size],
            )


@pytest.mark.parametrize("model", ["fashion-mnist", slow("eurosat")])
def test_decoded_pixels_do_not_depend_on_the_batch(model, threads):
    """A convolution of one image adds up in another order: one image in fifty had another level in one pixel."""
    tokenizer = Pipeline.from_pretrained(model).tokenizer
    codes = torch.randint(
        tokenizer.num_codes,
        (13, *tokenizer.grid(tokenizer.downsampling * 7))[:3],
        generator=torch.Generator().manual_seed(0),
    )
    whole = tokenizer.decode(codes)
    for size in (1, 2, 3, 7, 11):
        assert torch.equal(torch.cat([tokenizer.decode(part) for part in codes.split(size)]), whole)


@pytest.mark.parametrize("precision", ["float32", slow("bf16")])
def test_generated_images_do_not_depend_on_the_batch(precision):
    pipe = Pipeline.from_pretrained("fashion-mnist", precision=precision)
    settings = {"seed": 5, "steps": 6, "sampler": "confidence", "guidance": 1.5, "output_type": "np"}
    whole = pipe.generate(12, **settings)
    for size in (1, 5):
        assert np.array_equal(pipe.generate(12, batch_size=size, **settings), whole)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("width", [192, 256, 512])
def test_products_of_long_rows_do_not_depend_on_the_batch(width, bf16, threads):
    """512 to 1,368 inputs, which matrix units add up in another order for few rows. On several threads this is
    promised up to 192 wide (docs/samplers.md): they also divide activations and sums of wider networks by
    their number."""
    if threads > 1 and width > 192:
        pytest.skip("not promised")
    denoiser, grid = network(width=width), (7, 7)
    *given, _ = inputs(24, 49, denoiser.num_codes, denoiser.num_classes)
    with torch.no_grad():
        whole = logits_of(denoiser, bf16, *given, grid)
        for size in (1, 2, 3, 4, 5, 9, 13):
            part = logits_of(denoiser, bf16, *(value[:size] for value in given), grid)
            assert torch.equal(part, whole[:size]), size


def test_rows_are_filled_with_copies_and_only_as_far_as_needed():
    rows = torch.arange(3.0)[:, None]
    assert (
        filled(rows).shape == (16, 1)
        and torch.equal(filled(rows)[:3], rows)
        and filled(rows)[3:].unique().tolist() == [0]
    )
    assert len(filled(torch.zeros(16))) == 16 and len(filled(torch.zeros(17))) == 32
