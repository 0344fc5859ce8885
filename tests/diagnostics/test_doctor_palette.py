"""What doctor says of the colours of small images."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from PIL import Image

from d3pm_image.config import DiffusionRun
from d3pm_image.diagnostics import examine_images
from d3pm_image.parser import parse


def folder(root, colours: np.ndarray, side: int = 16):
    generator = np.random.default_rng(0)
    root.mkdir()
    for n in range(6):
        Image.fromarray(colours[generator.integers(0, len(colours), (side, side))]).save(root / f"{n}.png")
    return root


def some(count: int, alpha: int = 255) -> np.ndarray:
    colours = np.random.default_rng(1).permutation(1 << 12)[:count]
    levels = np.stack([colours % 16, colours // 16 % 16, colours // 256, np.full(count, alpha)], 1)
    return (levels * [16, 16, 16, 1]).astype(np.uint8)


CLEAR, HALF = np.array([[9, 9, 9, 0]], np.uint8), np.array([[9, 9, 9, 128]], np.uint8)


@pytest.mark.parametrize(
    "colours, words, tokenizer, channels",
    [
        (some(12)[:, :3], "12 colours in all images, no transparency", "palette:12", 3),
        (np.concatenate([some(12), CLEAR]), "13 colours in all images, hard alpha", "palette:13", 4),
        (np.concatenate([some(5), CLEAR, HALF]), "7 colours in all images, soft alpha", "palette:7", 4),
        (some(400)[:, :3], "colours in all images, no transparency, of which a palette takes 256", "palette:256", 3),
    ],
    ids=["opaque", "hard", "soft", "many"],
)  # fmt: skip
def test_few_colours_are_counted_and_a_palette_is_suggested(tmp_path, colours, words, tokenizer, channels):
    """The command that it says can be read."""
    found = next(f for f in examine_images(folder(tmp_path / "a b", colours)) if f.name == "palette")
    assert words in found.text and not found.wrong
    run = parse("train-diffusion", DiffusionRun, shlex.split(found.hint)[2:])
    assert (run.tokenizer, run.data.channels, run.denoiser.patch) == (tokenizer, channels, 2)


def test_photographs_get_no_palette(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5000, 3), np.uint8)
    assert not any(f.name == "palette" for f in examine_images(folder(tmp_path / "n", noise, 64)))
    assert not any(f.name == "palette" for f in examine_images(folder(tmp_path / "l", some(9), 80)))
