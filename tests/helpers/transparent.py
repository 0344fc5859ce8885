"""Transparent images, with other colours hidden under the same visible ones, and tokenizers of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def icons(count: int = 12, side: int = 16, hidden: int = 0, mode: str = "RGBA") -> list[Image.Image]:
    """Discs with soft edges on nothing; the colour under alpha 0 is noise of the seed ``hidden``, 0 for none."""
    down, across = np.indices((side, side)) - (side - 1) / 2
    garbage = np.random.default_rng(hidden)
    found = []
    for number in range(count):
        random = np.random.default_rng(number)
        radius, colour = random.uniform(side / 6, side / 2.5), random.integers(0, 256, 3)
        alpha = (np.clip(radius - np.hypot(down, across) + 0.5, 0, 1) * 255).round().astype(np.uint8)
        pixels = np.dstack([np.broadcast_to(colour, (side, side, 3)), alpha]).astype(np.uint8)
        clear = alpha == 0
        pixels[clear, :3] = garbage.integers(0, 256, (int(clear.sum()), 3)) if hidden else 0
        found.append(Image.fromarray(pixels).convert(mode))
    return found


def folder(place: Path, hidden: int = 0, mode: str = "RGBA", count: int = 12, side: int = 16) -> Path:
    """The icons as PNGs in two classes."""
    for number, icon in enumerate(icons(count, side, hidden, mode)):
        path = place / "ab"[number % 2] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        icon.save(path)
    return place
