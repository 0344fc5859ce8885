"""Training of the context branch: regions that are repainted, and codes in them as a denoiser would draw
them."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..config import TokenizerRun
from ..pixel_range import ends_with_alpha

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor, nn

    from ..data.images import ImageSet
    from ..tokenizer import Autoencoder
    from ..training.random import StepRandom

WIDTH = 32
"""Channels of a new branch."""
SEAM = 0.5
"""Weight of the mean absolute error of hidden pixels next to known ones."""
CHANGED = 0.5
"""Fraction of the images whose codes in the region are those of another brightness and contrast: drawn codes
fit to their surroundings less well than an image's own."""
GAIN, SHIFT = 0.15, 0.06
"""Largest change of contrast, as a factor less 1, and of brightness."""
PREVIEWS = 8
AT_ONCE = 50
"""Images of a validation in memory at once."""


def with_context(config: TokenizerRun) -> TokenizerRun:
    """The settings with a new branch where one is trained and none is set, and without one where other parts
    are trained, to which it would no longer fit."""
    width = config.tokenizer.context
    if config.learn == "context":
        width = width or WIDTH
    elif width:
        if os.environ.get("RANK", "0") == "0":
            print(
                f"note: tokenizer.context {width} is left out, because a context branch does not fit to a"
                f" tokenizer that learns {config.learn}; train it afterwards with --learn context",
                file=sys.stderr,
            )
        width = 0
    return dataclasses.replace(config, tokenizer=dataclasses.replace(config.tokenizer, context=width))


def repaint_inputs(images: Tensor, draws: Tensor, downsampling: int) -> tuple[Tensor, Tensor]:
    """Regions that are hidden, (B, h, w) bool, and images (B, C, h, w) whose codes stand in them.

    Args:
        images: (B, C, h, w) in [0, 1].
        draws: (B, :func:`draw_count`) uniforms in [0, 1).
        downsampling: Pixels per side of a code cell, of which some regions are made.
    """
    import torch

    from ..diffusion.known_regions import DRAWS, known_regions

    height, width = images.shape[2:]
    other, shape, cells = draws[:, :3], draws[:, 3 : 3 + DRAWS], draws[:, 3 + DRAWS :]
    cells = cells.view(-1, height // downsampling, width // downsampling)
    pixels = cells.repeat_interleave(downsampling, 1).repeat_interleave(downsampling, 2).flatten(1)
    known = known_regions(torch.cat([shape, pixels], 1), (height, width)).view(-1, height, width)
    return ~known, changed(images, other)


def draw_count(size: tuple[int, int], downsampling: int) -> int:
    """Uniforms per image of :func:`repaint_inputs`."""
    from ..diffusion.known_regions import DRAWS

    return 3 + DRAWS + (size[0] // downsampling) * (size[1] // downsampling)


def changed(images: Tensor, draws: Tensor) -> Tensor:
    """Images (B, C, h, w) of which :data:`CHANGED` have another brightness and contrast, by uniforms (B, 3);
    alpha stays, and premultiplied colours stay below it."""
    import torch

    used, gain, shift = (value.to(images.dtype)[:, None, None, None] for value in draws.unbind(1))
    on = (used < CHANGED).to(images.dtype)
    colours = images[:, :-1] if ends_with_alpha(images) else images
    alpha = images[:, -1:] if ends_with_alpha(images) else torch.ones_like(images[:, :1])
    middle = alpha / 2
    other = (
        (colours - middle) * (1 + on * GAIN * (2 * gain - 1)) + middle + on * SHIFT * (2 * shift - 1) * alpha
    )
    other = other.clamp_min(0).minimum(alpha)
    return torch.cat([other, alpha], 1) if ends_with_alpha(images) else other


def border(hidden: Tensor) -> Tensor:
    """Hidden pixels that touch a known one by a side, (B, h, w) bool."""
    import torch

    known, touched = ~hidden, torch.zeros_like(hidden)
    touched[:, 1:] |= known[:, :-1]
    touched[:, :-1] |= known[:, 1:]
    touched[:, :, 1:] |= known[:, :, :-1]
    touched[:, :, :-1] |= known[:, :, 1:]
    return hidden & touched


def seam_error(output: Tensor, images: Tensor, hidden: Tensor) -> Tensor:
    """Mean absolute error (scalar) of images (B, C, h, w) at the border of a region (B, h, w)."""
    where = border(hidden)[:, None]
    error = (output.float() - images).abs() * where
    return error.sum() / (where.sum() * images.shape[1]).clamp_min(1)


def repainted(
    model: nn.Module, images: Tensor, random: StepRandom, downsampling: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A training pass: images (B, C, h, w) with a region repainted, codes (B, H, W) and the region (B, h,
    w)."""
    import torch

    size = (images.shape[2], images.shape[3])
    hidden, seen = repaint_inputs(images, random.uniform(draw_count(size, downsampling)), downsampling)
    output, codes, _ = model(images, None, hidden, seen)
    return torch.where(hidden[:, None], output.float(), images), codes, hidden


def fixed_inputs(images: Tensor, generator: torch.Generator, downsampling: int) -> tuple[Tensor, Tensor]:
    """:func:`repaint_inputs` of the next draws of a generator of the CPU."""
    import torch

    count = draw_count((images.shape[2], images.shape[3]), downsampling)
    draws = torch.rand(len(images), count, generator=generator, dtype=torch.float64)
    return repaint_inputs(images, draws.to(images.device), downsampling)


def make_repaint_scores(
    held_out: ImageSet, device: torch.device, count: int
) -> Callable[[nn.Module], dict[str, float]]:
    """Scores of repaints of held-out images, always the same regions and changes: ``hidden_mse``, the mean
    squared error of hidden pixels, ``seam_error``, the mean of each batch's :func:`seam_error`, and
    ``seam_ratio`` (:class:`~d3pm_image.metrics.repaints.Repaints`)."""
    import torch

    from ..metrics.repaints import Repaints
    from ..pixel_range import to_levels

    def scores(model: nn.Module) -> dict[str, float]:
        network = cast("Autoencoder", model.eval())
        generator, repaints, seam = torch.Generator().manual_seed(0), Repaints(), 0.0
        for start in range(0, count, AT_ONCE):
            images = held_out.read(list(range(start, min(start + AT_ONCE, count))), device)
            hidden, seen = fixed_inputs(images, generator, network.downsampling)
            with torch.no_grad():
                drawn = network.complete(network.codes_around(images, hidden, seen), images, ~hidden)
            whole = torch.where(hidden[:, None], drawn, images)
            seam += float(seam_error(whole, images, hidden)) * len(images)
            repaints.add(to_levels(whole), to_levels(images), hidden)
        found = repaints.figures()
        return {
            "hidden_mse": float(found["mse"] or 0),
            "seam_error": seam / count,
            "seam_ratio": float(found["seam_ratio"] or 0),
        }

    return scores


def make_repaint_preview(
    held_out: ImageSet, device: torch.device
) -> Callable[[nn.Module], dict[str, Image.Image]]:
    """Held-out images, the same with a region in grey, repainted without and with the branch; below each
    other."""
    import torch

    from ..imaging import for_viewing, grid_image, to_pil

    def preview(model: nn.Module) -> dict[str, Image.Image]:
        network, count = cast("Autoencoder", model), min(PREVIEWS, len(held_out))
        images = held_out.read(torch.linspace(0, len(held_out) - 1, count).long().tolist(), device)
        hidden, seen = fixed_inputs(images, torch.Generator().manual_seed(1), network.downsampling)
        where = hidden[:, None]
        codes = network.codes_around(images, hidden, seen)
        rows = [
            images,
            torch.where(where, torch.full_like(images, 0.5), images),
            torch.where(where, network.decode(codes), images),
            torch.where(where, network.complete(codes, images, ~hidden), images),
        ]
        tiles = [for_viewing(image) for row in rows for image in to_pil(row)]
        return {"repainted": grid_image(tiles, columns=count)}

    return preview
