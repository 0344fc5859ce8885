"""Images of chosen levels and what a set makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import folder
from d3pm_image.recipes.images import open_images


def levels(root: Path, kind: type, *tops: float, low: float = 0) -> Path:
    """Ramps of 16×16 from ``low`` to each of the tops, as TIFF."""
    root.mkdir(parents=True, exist_ok=True)
    for i, top in enumerate(tops):
        Image.fromarray(np.linspace(low, top, 256).reshape(16, 16).astype(kind)).save(root / f"{i}.tif")
    return root


def opened(root: Path, **changes) -> tuple[DataConfig, ImageSet]:
    data, _, _ = open_images(DataConfig(root=str(root), image_size=16, channels=1, **changes))
    return data, ImageSet(folder(root), data)


def brightest(found: ImageSet) -> list[int]:
    return [int(image.max()) for image in found.pixels]
