"""Seamless textures for docs/tiles.md: python examples/textures.py textures --count 2000

Every image repeats beside and below itself by construction. Five folders, one for each class: bricks,
cobbles, grass, planks, water.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Array = np.ndarray


def noise(rng: np.random.Generator, size: int, roughness: float, stretch: float = 1.0) -> Array:
    """Periodic noise (size, size) of mean 0 and deviation 1, with a spectrum that falls by frequency to the
    power of -roughness; ``stretch`` > 1 makes it longer downwards."""
    y, x = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    frequency = np.hypot(y * stretch, x)
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.normal(size=(size, size))) * frequency**-roughness
    found = np.fft.ifft2(spectrum).real
    return found / found.std()


def shade(base: Array, light: Array) -> Array:
    """A colour (3,) or colours (h, w, 3), lightened by ``light`` (h, w), in levels."""
    return base + 255 * light[..., None]


def cells(rng: np.random.Generator, size: int, count: int) -> tuple[Array, Array]:
    """The nearest of ``count`` random points on the torus for every pixel (h, w), and how much farther away
    the second nearest is, in pixels."""
    points = rng.uniform(0, size, (count, 2))
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1)[:, :, None]
    apart = np.abs(grid - points)
    apart = np.minimum(apart, size - apart)
    distance = np.sqrt((apart**2).sum(-1))
    order = np.sort(distance, -1)
    return distance.argmin(-1), order[..., 1] - order[..., 0]


def cobbles(rng: np.random.Generator, size: int) -> Array:
    which, gap = cells(rng, size, int(rng.integers(8, 14)))
    tone = rng.normal(0, 0.05, which.max() + 1)[which]
    base = np.array([128, 124, 118]) + rng.normal(0, 12, 3)
    light = tone + np.clip(gap / 8, 0, 1) * 0.3 - 0.25 + 0.02 * noise(rng, size, 0.5)
    return shade(base, light)


def bricks(rng: np.random.Generator, size: int) -> Array:
    rows, columns = int(rng.choice([4, 8])), int(rng.choice([2, 4]))
    height, width = size // rows, size // columns
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    row = y // height
    x = x + (row % 2) * (width // 2)
    which = row * columns + x // width % columns
    joint = (y % height == 0) | (x % width == 0)
    tone = rng.normal(0, 0.06, rows * columns)[which] + 0.03 * noise(rng, size, 0.6)
    tone += 0.08 * (y % height == 1) - 0.08 * (y % height == height - 1)
    base = np.array([165, 82, 62]) + rng.normal(0, 14, 3)
    mortar = shade(np.array([188, 180, 168]), 0.03 * noise(rng, size, 0.3))
    return np.where(joint[..., None], mortar, shade(base, tone))


def planks(rng: np.random.Generator, size: int) -> Array:
    boards = int(rng.choice([2, 4]))
    width = size // boards
    x = np.arange(size)[None].repeat(size, 0)
    tone = rng.normal(0, 0.05, boards)[x // width] + 0.06 * noise(rng, size, 1.0, 6.0)
    tone -= 0.25 * (x % width == 0)
    ends = rng.integers(0, size, boards)[x // width]
    tone -= 0.2 * (np.arange(size)[:, None] == ends)
    return shade(np.array([150, 105, 62]) + rng.normal(0, 14, 3), tone)


def grass(rng: np.random.Generator, size: int) -> Array:
    light = 0.06 * noise(rng, size, 0.4, 0.4) + 0.05 * noise(rng, size, 1.6)
    found = shade(np.array([86, 138, 56]) + rng.normal(0, 12, 3), light)
    colour = np.array([(240, 220, 90), (235, 235, 240), (220, 110, 120)][rng.integers(3)])
    for y, x in rng.integers(0, size, (int(rng.integers(0, 6)), 2)):
        for dy, dx in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
            found[(y + dy) % size, (x + dx) % size] = colour if dy or dx else (120, 90, 40)
    return found


def water(rng: np.random.Generator, size: int) -> Array:
    _, gap = cells(rng, size, int(rng.integers(7, 12)))
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    dy, dx = (np.rint(1.5 * noise(rng, size, 1.5)).astype(int) for _ in range(2))
    gap = gap[(y + dy) % size, (x + dx) % size]
    light = np.where(gap < 1.5, 0.22, 0.02) + 0.03 * noise(rng, size, 1.2)
    return shade(np.array([52, 120, 176]) + rng.normal(0, 14, 3), light)


TEXTURES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "bricks": bricks,
    "cobbles": cobbles,
    "grass": grass,
    "planks": planks,
    "water": water,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=2000, help="images in all")
    parser.add_argument("--size", type=int, default=32, help="pixels per side, a multiple of 8")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.size < 16 or args.size % 8:
        parser.error(f"--size {args.size}: give a multiple of 8 from 16 on")
    rng = np.random.default_rng(args.seed)
    for name in TEXTURES:
        (args.folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(args.count):
        name = list(TEXTURES)[i % len(TEXTURES)]
        colours = np.roll(TEXTURES[name](rng, args.size), rng.integers(0, args.size, 2), (0, 1))
        levels = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(args.folder / name / f"{i:05d}.png")
    print(f"{args.count} textures in {args.folder}")


if __name__ == "__main__":
    main()
