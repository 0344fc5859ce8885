"""An image on the canvas of the brush, and the paint back in the image's own pixels.

A browser paints in display pixels, so small images are shown enlarged by a whole number and large ones
reduced. The image itself never goes through the browser: only the paint is taken from it, and results are
made from the uploaded file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ..config import check
from ..imaging import is_deep, on_chequerboard, plain, with_opacity

SMALL, LARGE = 420, 900
"""Display pixels of the longer side: enlarged towards the first, reduced to the second."""


def displayed(image: Image.Image) -> Image.Image:
    """RGB for the screen: images under 420 pixels enlarged without smoothing, those over 900 reduced;
    transparency shows a chequerboard."""
    clear = not is_deep(image.mode) and is_transparent(image)
    shown, longest = with_opacity(image) if clear else plain(image, 3), max(image.size)
    if longest > LARGE:
        size = max(1, image.width * LARGE // longest), max(1, image.height * LARGE // longest)
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    else:
        factor = max(1, SMALL // longest)
        size = image.width * factor, image.height * factor
        shown = shown.resize(size, Image.Resampling.NEAREST)
    return on_chequerboard(shown)


def is_transparent(image: Image.Image) -> bool:
    """Whether an image has pixels that are not opaque."""
    return image.has_transparency_data and bool((np.asarray(with_opacity(image))[..., 3] < 255).any())


def painted(value: dict[str, Any] | None, size: tuple[int, int]) -> np.ndarray:
    """Pixels of an image of ``size`` (width, height) that the brush touched, (h, w) bool.

    Args:
        value: What the editor gives: ``layers``, RGBA images of which any that is at least half opaque is
            paint.

    Raises:
        ConfigError: nothing is painted.
    """
    layers = [layer for layer in (value or {}).get("layers", []) if layer is not None]
    alphas = [np.asarray(layer.convert("RGBA").getchannel("A")) >= 128 for layer in layers]
    paint = np.logical_or.reduce(alphas) if alphas else np.zeros((1, 1), bool)
    check(bool(paint.any()), "", "", "paint over the part that should be redrawn")
    share = np.asarray(Image.fromarray((paint * 255).astype(np.uint8)).resize(size, Image.Resampling.BOX))
    # a pixel shown larger than it is counts as soon as the brush touches it; of reduced ones, those nearest
    # to the paint
    return share > 0 if paint.shape[0] > size[1] else share > 127
