"""The decoder in bf16: nearly the same pixels, codes as ever, and an image that does not depend on its batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.tokenizers import small, started

from d3pm_image.tokenizer import Autoencoder


def model(norm: str = "channel", channels: int = 3, context: int = 0) -> Autoencoder:
    """A small tokenizer."""
    return started(replace(small(4), norm=norm, context=context), channels).eval()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("norm", ["channel", "group"])
def test_pixels_differ_by_less_than_a_level_and_codes_not_at_all(norm, channels):
    tokenizer, images = model(norm, channels), torch.rand(5, channels, 16, 16)
    codes = tokenizer.encode(images)
    exact = tokenizer.decode(codes)
    tokenizer.precision = "bf16"
    half = tokenizer.decode(codes)
    assert half.dtype == torch.float32 and not torch.equal(half, exact)
    assert float((half - exact).square().mean().sqrt()) < 1 / 255
    assert torch.equal(tokenizer.encode(images), codes)


def test_the_precision_is_the_tokenizers_whatever_surrounds_the_call():
    tokenizer = model()
    codes = torch.randint(tokenizer.num_codes, (3, 4, 4))
    exact = tokenizer.decode(codes)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tokenizer.decode(codes), exact)
        images, known = torch.rand(3, 3, 16, 16), torch.rand(3, 16, 16) < 0.5
        fitted = model(context=8)
        inside = fitted.complete(codes, images, known)
    assert torch.equal(inside, fitted.complete(codes, images, known))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("context", [0, 8])
@pytest.mark.parametrize("norm", ["channel", "group"])
def test_an_image_does_not_depend_on_its_batch(norm, context, threads):
    tokenizer = model(norm, context=context)
    tokenizer.precision = "bf16"
    codes, images = torch.randint(tokenizer.num_codes, (9, 8, 8)), torch.rand(9, 3, 32, 32)
    known = torch.rand(9, 32, 32) < 0.5
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        whole = tokenizer.complete(codes, images, known)
        for size in (1, 2, 3, 5, 8):
            part = tokenizer.complete(codes[:size], images[:size], known[:size])
            assert torch.equal(part, whole[:size]), size
    finally:
        torch.set_num_threads(before)


def test_a_pipeline_decodes_in_its_own_precision(pipe):
    codes = torch.randint(pipe.tokenizer.num_codes, (2, *pipe.grid))
    exact = pipe.to(torch.float32).tokenizer.decode(codes)
    assert pipe.to(torch.bfloat16).tokenizer.precision == "bf16"
    assert not torch.equal(pipe.tokenizer.decode(codes), exact)
    assert torch.equal(pipe.to(torch.float32).tokenizer.decode(codes), exact)
