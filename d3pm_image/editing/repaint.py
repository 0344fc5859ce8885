"""Repaints: images and masks → canvases → codes, drawn where they are open → painted pixels, pasted under
the mask.

With strength 1 the masked pixels are filled in before anything is encoded and their codes are drawn from
noise (inpainting). With less, the codes of the image itself are corrupted to that noise level and denoised
from there (image to image; SDEdit, Meng et al. 2022, in codes).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ..config import check
from ..config.ranges import check_seam, check_strength
from ..imaging import hidden_cells
from ..sampling.request import Request
from ..tokenizer.autoencoder import Autoencoder
from ..tokenizer.palette import Palette
from .canvas import Canvas, covered_pixels, make_canvas, put_back
from .feather import blending_weights
from .image_files.image import in_own_colours, paste
from .model import Model
from .receptive import RING
from .regions import Region, Window, choose_region
from .rolling import centring, rolled
from .sliding import draw_codes, window_count

MOST_PIXELS = 24_000_000
"""Of a canvas, which is encoded and decoded in one go."""
FEW_WINDOWS = 32
"""Windows up to which no progress bar is shown."""


@dataclass(frozen=True)
class InpaintConfig:
    """Settings of a repaint.

    Args:
        window: Part of an image that is encoded, see :mod:`~d3pm_image.editing.regions`.
        ring: Code cells around the mask that are drawn as well; None takes
            :data:`~d3pm_image.editing.receptive.RING`, or what the feather needs.
        feather: Pixels over which the painted image fades into the known one, inside cells that are drawn;
            0 is a hard seam.
        strength: Noise level t that the codes are corrupted to: 1 redraws them and hides the present content,
            0 changes no code.

    Raises:
        ConfigError: impossible values.
    """

    window: Window = "auto"
    ring: int | None = None
    feather: int = 0
    strength: float = 1.0

    def __post_init__(self) -> None:
        hint = f"use one of {', '.join(get_args(Window))}"
        check(self.window in get_args(Window), "window", self.window, hint)
        check_seam(self.ring, self.feather)
        check_strength(self.strength)

    @property
    def hides(self) -> bool:
        """Whether the masked pixels are hidden from the encoder."""
        return self.strength == 1

    def cells_around(self, downsampling: int) -> int:
        """The ring in cells; a feather fades inside drawn cells, so if no ring is given it sets one that is
        wide enough."""
        return max(RING, -(-self.feather // downsampling)) if self.ring is None else self.ring


@dataclass(frozen=True)
class InpaintState:
    """State of an image's repaint: the inputs, and on its canvas the codes (H, W) and which of them to draw,
    (H, W) bool."""

    original: Image.Image
    mask: np.ndarray
    canvas: Canvas
    codes: Tensor
    unknown: Tensor
    roll: tuple[int, int] = (0, 0)
    """Pixels (down, right) by which the image and its mask are rolled."""


@dataclass(frozen=True)
class Part:
    """What is worked on of an image, rolled where the model's images repeat.

    Args:
        image, mask: The image, and (h, w) bool what of it is repainted.
        region: Where that lies.
        roll: Pixels (down, right) by which both are rolled.
    """

    image: Image.Image
    mask: np.ndarray
    region: Region
    roll: tuple[int, int] = (0, 0)


def repaint(
    model: Model,
    request: Request,
    config: InpaintConfig,
    images: Sequence[Image.Image],
    masks: Sequence[np.ndarray],
    labels: Sequence[int],
    variants: int,
    quiet: bool = False,
) -> list[list[Image.Image]]:
    """``variants`` images of each, of its size and mode; variant j of image i is image i·variants + j of
    the request.

    Args:
        masks: (h, w) bool each, True = repaint. An image without any comes back as it is, without a network
            call.
        labels: Class numbers, one per image.
        quiet: Whether no progress bar is shown, as where the caller has one.

    Raises:
        ConfigError: sampler and process do not fit, or another number of seeds than results.
    """
    check(variants >= 1, "variants", variants, "ask for at least 1 variant")
    request.check_count(len(images) * variants)
    indexed = isinstance(model.tokenizer, Palette)
    hint = "mixes colours, and a palette model draws those of its palette alone; use 0"
    check(not indexed or config.feather == 0, "feather", config.feather, hint)
    touched = [i for i, mask in enumerate(masks) if mask.any()]
    given = [part_of(model, config, images[i], masks[i]) for i in touched]
    results = [[image.copy() for _ in range(variants)] for image in images]
    with window_bar(model, [part.region for part in given], quiet) as bar:
        states = dict(zip(touched, make_states(model, request, config, given), strict=True))
        bar.set_description("drawing")
        for places in batches(states, model, request, variants):
            numbers = [place // variants for place in places]
            codes, unknown = (
                torch.stack([getattr(states[i], name) for i in numbers]) for name in ("codes", "unknown")
            )
            label = torch.tensor([labels[i] for i in numbers], device=model.device)
            drawn = draw_codes(model, request, places, label, codes, unknown, config.strength, bar)
            canvases = [states[i].canvas for i in numbers]
            for place, i, pixels in zip(
                places, numbers, decode(model, request, drawn, canvases), strict=True
            ):
                results[i][place % variants] = finish(
                    states[i], pixels, model.tokenizer.downsampling, config.feather, indexed
                )
    return results


def region_of(model: Model, config: InpaintConfig, mask: np.ndarray) -> Region:
    """The part of an image that is encoded.

    Raises:
        ConfigError: more pixels at once than the limit.
    """
    downsampling = model.tokenizer.downsampling
    region = choose_region(
        config.window, mask, model.image_size, downsampling, config.cells_around(downsampling)
    )
    size = f"{region.canvas[1]}x{region.canvas[0]} pixels"
    fits = math.prod(region.canvas) <= MOST_PIXELS
    hint = (
        f"works on {size} at once, and at most {MOST_PIXELS:,} are possible; mark a smaller part, or use crop"
    )
    check(fits, "window", config.window, hint)
    return region


def part_of(model: Model, config: InpaintConfig, image: Image.Image, mask: np.ndarray) -> Part:
    """What is worked on of an image. Of a model whose images repeat the image does so, too: a region that is
    not all of it may go on beyond its border.

    Raises:
        ConfigError: see :func:`region_of`.
    """
    roll = centring(mask, model.repeats, model.image_size)
    turned = np.roll(mask, roll, (0, 1))
    region = region_of(model, config, turned)
    if not any(roll) or (region.pixels, region.canvas) == (mask.shape, model.image_size):
        return Part(image, mask, region_of(model, config, mask))  # all of it at once is a torus as it is
    return Part(rolled(image, *roll), turned, region, roll)


def window_bar(model: Model, regions: Sequence[Region], quiet: bool = False) -> tqdm:
    """A progress bar of windows, shown if there are many and ``quiet`` is not asked for."""
    grids = [model.tokenizer.grid(region.canvas) for region in regions]
    quiet = quiet or sum(window_count(grid, model.grid) for grid in grids) <= FEW_WINDOWS
    return tqdm(desc="encoding", unit="window", disable=quiet, leave=False, mininterval=0.5)


def make_states(
    model: Model, request: Request, config: InpaintConfig, given: list[Part]
) -> list[InpaintState]:
    """Canvases and codes of images with their masks and regions; canvases of one size are encoded
    together."""
    tokenizer = model.tokenizer
    ring = config.cells_around(tokenizer.downsampling)
    canvases = [
        make_canvas(part.image, part.mask, part.region, tokenizer.channels, config.hides) for part in given
    ]
    codes: dict[int, Tensor] = {}
    for shape in dict.fromkeys(canvas.pixels.shape for canvas in canvases):
        alike = [i for i, canvas in enumerate(canvases) if canvas.pixels.shape == shape]
        for part in request.batches(len(alike)):
            chosen = [alike[p] for p in part]
            found = tokenizer.encode(torch.stack([canvases[i].pixels for i in chosen]).to(model.device))
            codes |= dict(zip(chosen, found, strict=True))
    unknown = [
        hidden_cells(canvas.open[None], tokenizer.downsampling, ring)[0].to(model.device)
        for canvas in canvases
    ]
    return [
        InpaintState(part.image, part.mask, canvas, codes[i], unknown[i], part.roll)
        for i, (part, canvas) in enumerate(zip(given, canvases, strict=True))
    ]


def batches(
    states: dict[int, InpaintState], model: Model, request: Request, variants: int
) -> list[list[int]]:
    """Places of results that are drawn together: those on the trained grid; variants of one image on
    another grid."""
    groups: dict[int, list[int]] = {}
    for i, state in states.items():
        group = -1 if tuple(state.codes.shape) == tuple(model.grid) else i
        groups.setdefault(group, []).extend(range(i * variants, (i + 1) * variants))
    return [[group[p] for p in part] for group in groups.values() for part in request.batches(len(group))]


def decode(model: Model, request: Request, codes: Tensor, canvases: Sequence[Canvas]) -> Iterator[Tensor]:
    """Images (C, h, w) of codes (B, H, W), as many pixels at once as a batch of the model's size has; fitted
    to the known pixels of their canvases, where the tokenizer can."""
    at_once = max(1, request.batch_size * math.prod(model.grid) // math.prod(codes.shape[1:]))
    tokenizer = model.tokenizer
    for start in range(0, len(codes), at_once):
        part = codes[start : start + at_once]
        if isinstance(tokenizer, Autoencoder) and tokenizer.context is not None:
            around = canvases[start : start + at_once]
            pixels = torch.stack([canvas.pixels for canvas in around]).to(model.device)
            known = torch.stack([~canvas.open for canvas in around]).to(model.device)
            yield from tokenizer.complete(part, pixels, known).cpu()
        else:
            yield from tokenizer.decode(part).cpu()


def finish(
    state: InpaintState, pixels: Tensor, downsampling: int, feather: int, exact: bool = False
) -> Image.Image:
    """The original with the painted pixels (C, h, w) of its canvas pasted under its mask; ``exact`` keeps
    their colours at any size."""
    size, region = state.mask.shape, state.canvas.region
    drawn = covered_pixels(region, state.unknown, downsampling, size) if feather else state.mask
    painted = in_own_colours(put_back(region, pixels, size, exact), state.original)
    result = paste(state.original, painted, blending_weights(state.mask, drawn, feather))
    return rolled(result, -state.roll[0], -state.roll[1]) if any(state.roll) else result
