"""Images of every mode and masks with holes at the border."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise(mode: str, width: int = 24, height: int = 16, seed: int = 0) -> Image.Image:
    """An image of random pixels in any mode, alpha and palette included."""
    random = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    if mode == "1":
        return Image.fromarray(random.random((height, width)) < 0.5)
    if mode == "P":
        image = Image.fromarray(random.integers(0, 256, (height, width), dtype=np.uint8), "L").convert("P")
        image.putpalette(random.integers(0, 256, 768, dtype=np.uint8).tobytes())
        return image
    bands = len(Image.new(mode, (1, 1)).getbands())
    array = random.integers(0, 256, (height, width, bands), dtype=np.uint8)
    return Image.frombytes(mode, (width, height), array.tobytes())


def holes(width: int = 24, height: int = 16, seed: int = 1) -> np.ndarray:
    """A rectangle, a single pixel and a stripe at the border."""
    mask = np.zeros((height, width), bool)
    mask[3 : height // 2, 4 : width // 2] = True
    mask[-1, -3] = True
    mask[:, 0] = True
    return mask


def layer(size, box) -> dict:
    paint = Image.new("RGBA", size)
    paint.paste((20, 184, 166, 255), box)
    return {"background": None, "layers": [paint], "composite": None}
