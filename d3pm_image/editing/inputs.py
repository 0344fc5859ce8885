"""Inputs of an edit: one image or several, and the mask of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard, cast

import numpy as np
from PIL import Image
from torch import Tensor

from ..config import ConfigError, check
from ..data.conversion import as_array, as_image
from .image_files.files import open_image_file
from .masks import Box, Mask, Polygon, as_mask, combine

Single = Image.Image | str | Path
Several = Sequence[Image.Image] | Sequence[Path] | list[str] | tuple[str, ...]
ImageLike = Single | np.ndarray | Tensor
ImagesLike = ImageLike | Sequence[ImageLike]
"""One or several; an array or a tensor is either, by its dimensions."""
Masks = Mask | Tensor | Sequence[Mask | Tensor | None] | None
"""One mask for all images or a list with one for each; None is the whole image."""


def image_list(image: Any, name: str = "image") -> tuple[list[Image.Image], bool]:
    """Inputs as Pillow images, and whether it was a single one.

    Args:
        image: A Pillow image, a path, an array or a tensor; several as a list, an array (n, h, w, C) or a
            tensor (n, C, h, w). Shapes and numbers are those of :func:`~d3pm_image.data.conversion.as_image`.

    Raises:
        ConfigError: anything else, or none.
    """
    if isinstance(image, (list, tuple)) or getattr(image, "ndim", 0) == 4:
        return [image_list(one, name)[0][0] for one in image], False
    if isinstance(image, (str, Path)):
        return [open_image_file(image, name).image], True
    return [as_image(image, name)], True


def gather(image: ImagesLike, mask: Masks) -> tuple[list[Image.Image], list[np.ndarray], bool]:
    """Images, their masks, (h, w) bool each, and whether a single image was given.

    Args:
        image: An image, or several; see :func:`image_list`.
        mask: What to repaint: one mask for all images, or a list with one for each.

    Raises:
        ConfigError: no image, another number of masks, or a mask that does not fit its image.
    """
    images, single = image_list(image)
    check(bool(images), "image", 0, "give at least one image")
    if isinstance(mask, (list, tuple)) and len(mask) == 4 and all(isinstance(n, (int, float)) for n in mask):
        hint = "four numbers are not a mask; for a rectangle by left, top, width and height give "
        raise ConfigError("mask", mask, f"{hint}Box{tuple(mask)}")
    given = as_array(mask)
    if isinstance(given, np.ndarray) and given.ndim == 4 and given.shape[1] == 1:
        given = given[:, 0]  # (n, 1, h, w), as diffusers has them
    if isinstance(given, np.ndarray) and given.ndim == 3 and len(given) == 1 and single:
        given = given[0]
    # the input for a single image is its mask, also as a nested list, which as_mask reads as an array
    masks = (
        [as_array(m) for m in given]
        if several(given) and not single
        else [cast("Mask | None", given)] * len(images)
    )
    check(
        len(masks) == len(images), "mask", len(masks), f"give one mask for each of the {len(images)} images"
    )
    return (
        images,
        [
            np.ones((i.height, i.width), bool) if m is None else as_mask(m, i)
            for i, m in zip(images, masks, strict=True)
        ],
        single,
    )


def several(mask: Any) -> TypeGuard[Sequence[Mask | None]]:
    """Whether this is a list of masks, or masks stacked in an array (n, h, w), rather than one."""
    return mask.ndim > 2 if isinstance(mask, np.ndarray) else isinstance(mask, (list, tuple))


def read_region(
    image: Image.Image, mask: str = "", box: str = "", polygon: str = "", needed: bool = True
) -> np.ndarray | None:
    """The pixels to repaint, (h, w) bool, from options of the command line: the union of all that are given;
    None without any.

    Args:
        mask: File of a mask, or the word alpha: where the image itself is transparent.
        box: ``x,y,width,height`` in pixels.
        polygon: Corners ``x1,y1 x2,y2 x3,y3 …`` in pixels.
        needed: Whether one of them must be given.

    Raises:
        ConfigError: nothing where a region is needed, a mask of another size or that marks nothing, or an
            area that cannot be read or lies outside the image.
    """
    given: list[Mask] = [Box.parse(box)] if box else []
    given += [Polygon.parse(polygon)] if polygon else []
    if mask:
        given.append(mask if mask == "alpha" else open_image_file(mask, "mask").image)
    check(bool(given) or not needed, "mask", "", "give a mask image, --box, --polygon, or the word alpha")
    if not given:
        return None
    hidden = combine(as_mask(one, image) for one in given)
    check(bool(hidden.any()), "mask", mask, "marks no pixel; white (alpha: transparent) is what is repainted")
    return hidden
