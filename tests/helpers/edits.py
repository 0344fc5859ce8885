"""Untrained pipelines, images with holes, and a tokenizer that records what it is given."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from PIL import Image

from d3pm_image import Pipeline
from d3pm_image.config import DenoiserConfig, ProcessConfig, SamplingConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.tokenizer import Pixels
from helpers.tokenizers import small, started

SIDES = {1: 8, 2: 8, 4: 16, 8: 32, 16: 48}


def build(tokenizer, side: int, classes: int = 3, share: float = 0.1) -> Pipeline:
    """An untrained model whose predictions depend on all that it sees."""
    torch.manual_seed(1)
    denoiser = Transformer(DenoiserConfig(width=16, depth=1, heads=2), tokenizer.num_codes, classes)
    for weights, spread in (
        (denoiser.head.weight, 0.15),
        (denoiser.modulation.weight, 0.5),
        (denoiser.classes.weight, 1.5),
    ):
        torch.nn.init.normal_(weights, std=spread)
    process = ProcessConfig(corruption="linear", uniform_share=share, steps=0)
    names = [f"class {i}" for i in range(classes)]
    return Pipeline(tokenizer, denoiser, process, (side, side), names, sampling=SamplingConfig(steps=3))


@cache
def model(downsampling: int | str = 4, channels: int = 1) -> Pipeline:
    """A model by its downsampling, or of pixels as codes."""
    if downsampling == "pixels":
        return build(Pixels(8 if channels == 1 else 3, channels), 8)
    return build(started(small(downsampling), channels), SIDES[downsampling])


def make_image(width: int, height: int, mode: str = "L", seed: int = 0) -> Image.Image:
    """Smooth shapes with a little noise, so that codes vary over the image."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 6 + random.random((2, 1, 1)) * 9
    bands = [127 + 60 * np.sin(x + i) + 40 * np.cos(y - i) + random.normal(0, 12, x.shape) for i in range(4)]
    return Image.fromarray(np.stack(bands, -1).clip(0, 255).astype(np.uint8), "RGBA").convert(mode)


def hole(width: int, height: int, seed: int = 0) -> np.ndarray:
    """An irregular mask that touches the right border."""
    y, x = np.mgrid[:height, :width]
    return (y > height * 0.4) & (y < height * 0.7) & (x > width * 0.55 + 2 * np.sin(y + seed))


def pixels(images) -> list[np.ndarray]:
    return [np.asarray(image) for image in images]


def same(a, b) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(pixels(a), pixels(b), strict=True))


class Spy:
    """Counts what a pipeline's networks are called with."""

    def __init__(self, pipe, monkeypatch):
        self.encoded, self.decoded, self.predicted = [], [], []
        for name, seen in (("encode", self.encoded), ("decode", self.decoded)):
            original = getattr(pipe.tokenizer, name)
            monkeypatch.setattr(
                pipe.tokenizer, name, lambda x, f=original, s=seen: (s.append(x.clone()), f(x))[1]
            )
        predict = pipe.predict
        monkeypatch.setattr(
            pipe, "predict", lambda *a, **k: (self.predicted.append(a[0].clone()), predict(*a, **k))[1]
        )
