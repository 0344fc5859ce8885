"""Conversion of images: arrays to Pillow and back, modes, labelled grids, and the filling of hidden
pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from .config import check
from .image_io import to_srgb
from .outputs import folder_to_write
from .pixel_range import from_levels, has_alpha, to_levels
from .printable import printable
from .storage import whole_file

SETTINGS = "d3pm_image"
"""Name of the PNG text that holds the settings of a result."""
SQUARE, SQUARES = 10, (204, 255)
"""Pixels of a side of the squares under transparency, and their levels."""
SHOWN, SHOWN_SIDE = 64, 512
"""Images of a notebook's sheet, and pixels of their longer side."""


class Images(list[Image.Image]):
    """A list of Pillow images, which a notebook shows as one sheet."""

    def _repr_png_(self) -> bytes | None:
        """The first 64 as a PNG, small ones enlarged, large ones reduced to 512 pixels per side; None where
        sizes differ, or for none."""
        if len({image.size for image in self}) != 1:
            return None
        channels = {"1": 1, "L": 1, "LA": 2, "RGBA": 4}
        tiles = [plain(image, channels.get(image.mode, 3)) for image in map(unindexed, self[:SHOWN])]
        for tile in tiles:
            tile.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        stream = io.BytesIO()
        grid_image([for_viewing(tile) for tile in tiles]).save(stream, "PNG")
        return stream.getvalue()


def to_pil(images: Tensor) -> Images:
    """Pillow images (L, LA, RGB or RGBA, by their channels) of (B, C, h, w) float in [0, 1]."""
    array = to_levels(images.detach().float().clamp(0, 1)).cpu().numpy()
    return Images(Image.fromarray(a[0] if a.shape[0] == 1 else a.transpose(1, 2, 0)) for a in array)


def to_tensor(image: Image.Image) -> Tensor:
    """(C, h, w) float in [0, 1] of an L, LA, RGB or RGBA image."""
    array = np.asarray(image)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return from_levels(torch.tensor(array))


def is_deep(mode: str) -> bool:
    """Whether levels of a Pillow mode have more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Mode of images with so many channels."""
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
WHITE = "d3pm_image white"
"""Key of an image's ``info``: the level that means white to the model that works on it."""


def with_white(image: Image.Image, white: float) -> Image.Image:
    """A copy of an image of mode I;16, I or F with its level of white (:func:`full_level`); others as they
    are."""
    if white <= 0 or not is_deep(image.mode):
        return image
    image = image.copy()
    image.info[WHITE] = white
    return image


def full_level(image: Image.Image, known: np.ndarray | None = None) -> float:
    """The level that means white: that of :func:`with_white`; else 65535 for 16-bit modes, 255 for the
    others.

    Modes I (32-bit whole numbers) and F (floating point) do not say: 65535 if a level is over 255, 1 if F
    holds none over 1, else 255.

    Args:
        known: bool (h, w), the pixels that may be looked at in modes I and F; all where None or none is
            known.
    """
    if WHITE in image.info:
        return float(image.info[WHITE])
    if image.mode.startswith("I;16"):
        return 65535.0
    if image.mode not in ("I", "F"):
        return 255.0
    levels = np.asarray(image)
    levels = levels if known is None or not known.any() else levels[known]
    most = levels[np.isfinite(levels)].max(initial=0)
    return 65535.0 if most > 255 else 1.0 if image.mode == "F" and 0 < most <= 1 else 255.0


def with_opacity(image: Image.Image) -> Image.Image:
    """An image of 8 bits per level, or fewer, in mode RGBA."""
    # of a copy: converting a palette with transparency changes the image itself, and GIFs of it then have
    # wrong colours
    return (image.convert("LA") if image.mode == "La" else image.copy()).convert("RGBA")


def plain(
    image: Image.Image, channels: int, known: np.ndarray | None = None, white: float = 0.0
) -> Image.Image:
    """An image of any mode in 8-bit grey or colour.

    Levels of 16 and more bits are scaled so that :func:`full_level` is 255, cut to 0..255 and rounded;
    palettes are resolved; transparency, also that of one colour or palette entry, is laid on white where
    there is no channel for it.

    Args:
        channels: 1 for mode L, 2 for LA, 3 for RGB, 4 for RGBA.
        known: See :func:`full_level`: the pixels that may set the scale of modes I and F.
        white: The level that means white in modes I;16, I and F; 0 or less for that of :func:`full_level`.
    """
    transparent = image.info.get("transparency")
    if is_deep(image.mode):
        levels = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=np.inf, neginf=-np.inf)
        clear = levels == transparent if isinstance(transparent, int) else np.zeros(levels.shape, bool)
        levels[clear] = np.inf
        image = Image.fromarray(
            (levels * (255 / (white if white > 0 else full_level(image, known))))
            .clip(0, 255)
            .round()
            .astype(np.uint8)
        )
        if has_alpha(channels):
            image.putalpha(Image.fromarray(np.where(clear, 0, 255).astype(np.uint8)))
    elif transparent is not None or image.mode in ALPHA_MODES:
        image = with_opacity(image)
        if not has_alpha(channels):
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "LAB":
        image = image.convert("RGB")  # the only conversion from there
    return image.convert(MODES[channels])


def plain_srgb(
    image: Image.Image,
    channels: int,
    known: np.ndarray | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> Image.Image:
    """An image as input of a model: :func:`plain`, with colours converted from its profile, if any, to sRGB.

    Args:
        known: See :func:`plain`.
        box: (left, top, right, bottom), the part that is wanted; None for all.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        whole = plain(image, channels, known)
        return whole.crop(box) if box else whole
    whole = image if image.mode == "CMYK" else plain(image, profile_channels(image.mode), known)
    if has_alpha(channels) and image.mode != "CMYK":
        return srgb_under_alpha(
            plain(image, profile_channels(image.mode) + 1, known).crop(box), profile, channels
        )
    return plain(to_srgb(whole.crop(box) if box else whole, profile), channels)


def srgb_under_alpha(image: Image.Image, profile: bytes, channels: int) -> Image.Image:
    """An image of mode LA or RGBA whose colours are those of a profile, in sRGB, with the alpha it had; mode
    LA or RGBA by ``channels``, 2 or 4."""
    moved = plain(to_srgb(image.convert(image.mode.removesuffix("A")), profile), channels)
    moved.putalpha(image.getchannel("A"))
    return moved


def profile_channels(mode: str) -> int:
    """1 for modes whose colour profile is one of greys, else 3."""
    return 1 if is_deep(mode) or mode in ("1", "L", "LA", "La") else 3


def enlarge(image: Image.Image, at_least: int = 64) -> Image.Image:
    """Whole-number enlargement without smoothing, so that small images can be seen: sides of ``at_least``
    or more."""
    factor = max(1, -(-at_least // min(image.size)))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def unindexed(image: Image.Image) -> Image.Image:
    """An image of mode P in RGB, or RGBA where it says what is transparent; others as they are."""
    return image.convert("RGBA" if "transparency" in image.info else "RGB") if image.mode == "P" else image


def on_chequerboard(image: Image.Image) -> Image.Image:
    """An image of mode LA or RGBA on white and grey squares, for the eye: RGB of its size; others as they
    are."""
    image = unindexed(image)
    if image.mode not in ("LA", "RGBA"):
        return image
    down, across = np.indices((image.height, image.width)) // SQUARE
    squares = Image.fromarray(np.where((down + across) % 2, *SQUARES).astype(np.uint8))
    return Image.alpha_composite(squares.convert("RGBA"), image.convert("RGBA")).convert("RGB")


def for_viewing(image: Image.Image, at_least: int = 64) -> Image.Image:
    """An image as sheets and previews show it: :func:`enlarge` and :func:`on_chequerboard`."""
    return on_chequerboard(enlarge(image, at_least))


def grid_image(
    images: list[Image.Image], columns: int = 0, captions: list[str] | None = None, gap: int = 2
) -> Image.Image:
    """One image of many, row by row, with an optional caption under each; what is transparent stays so.

    Args:
        images: Same size and mode each.
        columns: Images per row; 0 puts up to 5 into one row and makes a larger grid about square.
        captions: A short text an image.
        gap: Pixels between images.

    Raises:
        ValueError: no images.
    """
    check(bool(images), "images", 0, "a grid needs at least one image")
    columns = columns or (
        len(images) if len(images) <= 5 and len(images) != 4 else int(np.ceil(np.sqrt(len(images))))
    )
    images = [unindexed(image) for image in images]
    rows = -(-len(images) // columns)
    width, height = images[0].size
    # with a size, Pillow returns a scalable font
    font = (
        cast("ImageFont.FreeTypeFont", ImageFont.load_default(size=max(10, min(16, width // 5))))
        if captions
        else None
    )
    text = int(font.size * 1.4) if font else 0
    clear = any(i.mode in ("LA", "RGBA") for i in images)
    mode = "RGBA" if clear else "L" if all(i.mode == "L" for i in images) else "RGB"
    sheet = Image.new(mode, (columns * (width + gap) + gap, rows * (height + text + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        x, y = gap + number % columns * (width + gap), gap + number // columns * (height + text + gap)
        sheet.paste(image.convert(mode), (x, y))
        if captions and font:
            draw.text(
                (x + width / 2, y + height),
                fitted(captions[number], font, width + gap),
                fill="black",
                font=font,
                anchor="ma",
            )
    return sheet


def labelled_grid(
    images: Sequence[Image.Image], ids: Sequence[int], class_names: Sequence[str], columns: int = 0
) -> Image.Image:
    """One image of all, with their classes under them if there are any.

    Args:
        ids: Class of each; the number of classes for none.
        columns: Images per row; 0 chooses: 5 to 12 classes that divide the number of images form a row.
    """
    captions = [printable([*class_names, "no class"][i]) for i in ids] if class_names else None
    cycle = len(set(ids))
    columns = columns or (cycle if 5 <= cycle <= 12 and len(images) % cycle == 0 else 0)
    return grid_image([enlarge(image) for image in images], columns, captions)


def fitted(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """A text, shortened with an ellipsis if it is wider than a number of pixels."""
    if font.getlength(text) <= width:
        return text
    kept = next((n for n in range(len(text) - 1, 0, -1) if font.getlength(text[:n] + "…") <= width), 0)
    return text[:kept].rstrip() + "…"


def hidden_cells(mask: Tensor, downsampling: int, ring: int = 0) -> Tensor:
    """Code cells to repaint: every cell that the pixel mask touches, and ``ring`` cells around them.

    Args:
        mask: (B, h, w) bool; sides divisible by ``downsampling``.

    Returns:
        (B, h/f, w/f) bool.
    """
    cells = F.max_pool2d(mask[:, None].float(), downsampling)
    ring = min(ring, max(cells.shape[-2:]))  # beyond the grid there is nothing
    if ring:
        cells = F.max_pool2d(cells, 2 * ring + 1, stride=1, padding=ring)
    return cells[:, 0] > 0


def fill_hidden(images: Tensor, mask: Tensor) -> Tensor:
    """Replace hidden pixels by a smooth continuation of the known ones, so that they do not influence an
    encoder.

    Means of known neighbours are carried down a pyramid (pull-push): exact at known pixels, grey where an
    image has none. (B, C, h, w) float and (B, h, w) bool → (B, C, h, w); hidden values are never read.
    """
    known = (~mask)[:, None].to(images.dtype)
    return _pull_push(torch.where(mask[:, None], torch.zeros_like(images), images), known)


def _pull_push(values: Tensor, known: Tensor) -> Tensor:
    """Fill where known = 0; values are already 0 there."""
    height, width = values.shape[-2:]
    if height == 1 and width == 1:
        return torch.where(known > 0, values, torch.full_like(values, 0.5))
    pad = (0, width % 2, 0, height % 2)
    weight = F.avg_pool2d(F.pad(known, pad), 2)
    total = F.avg_pool2d(F.pad(values * known, pad), 2)
    coarse_known = (weight > 0).to(values.dtype)
    coarse = _pull_push(
        torch.where(weight > 0, total / weight.clamp_min(1e-6), torch.zeros_like(total)), coarse_known
    )
    smooth = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return torch.where(known > 0, values, smooth)


def check_ending(path: Path) -> None:
    """Raises ConfigError, before any work, for an ending that no image can be written with, or a place below
    a file."""
    Image.init()
    known = Image.registered_extensions().get(path.suffix.lower()) in Image.SAVE
    check(known, "out", str(path), "use an ending such as .png, .jpg or .webp, or a folder name without one")
    folder_to_write(path.parent)


def save_image(image: Image.Image, path: str | Path, settings: dict[str, object] | None = None) -> None:
    """Write an image atomically, in the format of its ending; PNGs record ``settings`` as text.

    Raises:
        ConfigError: an ending that Pillow cannot write, or a format that cannot hold the image.
    """
    import json

    from PIL.PngImagePlugin import PngInfo

    path = Path(path)
    kinds = Image.registered_extensions()
    kind = kinds.get(path.suffix.lower())
    hint = "use an ending such as .png, .jpg or .webp"
    check(kind is not None and kind in Image.SAVE, "out", str(path), hint)
    extra: dict[str, Any] = (
        {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    )
    if kind == "PNG" and settings:
        extra["pnginfo"] = PngInfo()
        extra["pnginfo"].add_text(SETTINGS, json.dumps(settings))
    with whole_file(path) as part:
        try:
            image.save(part, format=kind, **extra)
        except OSError as error:
            if "cannot write mode" not in str(error):
                raise
            # JPEG and others hold no transparency and no more than 8 bits per level
            plain(image, profile_channels(image.mode)).save(part, format=kind)


def with_hard_alpha(image: Image.Image) -> Image.Image:
    """An image in RGBA whose pixels are opaque or, where they were less than half opaque, nothing."""
    pixels = np.array(image.convert("RGBA"))
    clear = pixels[..., 3] < 128
    pixels[..., 3], pixels[clear] = 255, 0
    return Image.fromarray(pixels)


def save_animation(images: list[Image.Image], path: str | Path, frame_ms: int, last_ms: int) -> None:
    """Write images of one size as an endless GIF or WebP, atomically; WebP keeps every pixel, GIF 256
    colours an image, and of alpha whether a pixel is at least half opaque.

    Args:
        images: Mode L or RGB, or LA or RGBA, whose transparent pixels show nothing of the image before.
        path: Ends in .gif or .webp.
        frame_ms, last_ms: How long each image and the last one are shown, in milliseconds.
    """
    path = Path(path)
    extra: dict[str, Any] = {"lossless": True} if path.suffix.lower() == ".webp" else {}
    if path.suffix.lower() == ".gif" and any(image.mode in ("LA", "RGBA") for image in images):
        images, extra = [with_hard_alpha(image) for image in images], {"disposal": 2}
    duration = [frame_ms] * (len(images) - 1) + [last_ms]
    with whole_file(path) as part:
        images[0].save(
            part,
            format=path.suffix[1:].upper(),
            save_all=True,
            append_images=images[1:],
            duration=duration,
            loop=0,
            **extra,
        )
