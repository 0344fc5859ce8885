"""Colours of a palette as codes: every pixel is one code, the nearest entry; nothing is learned.

As with pixels as codes there is no stage one, and a generated pixel is an entry, whatever the network says.
Distances are those of premultiplied colours and alpha in [0, 1]. A palette without soft alpha (every entry is
opaque, or the one that is clear) makes images hard first: pixels of alpha under 128 are clear, others opaque.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..config import ConfigError, check
from ..image_io import open_image
from ..pixel_range import from_levels, has_alpha, to_levels
from ..types import Tokenizer
from .pixels import PixelCodes
from .quantizer import code_vectors, need_codes

ENTRIES = 256
"""The most that an image file of indexed colours holds."""
AT_ONCE = 1 << 16
"""Colours that are compared with a palette at a time."""
LIKE = 0.25
"""Distance of colours up to which they are embedded alike at first."""


class Palette(PixelCodes):
    """Images (B, C, h, w), float in [0, 1], to codes (B, h, w), int64 in 0..K-1, and back.

    Args:
        colours: (K, C) uint8, straight colour and alpha; C is 1 to 4 as in images.

    Raises:
        ConfigError: fewer than 2 entries, or more than 256.
    """

    colours: Tensor

    def __init__(self, colours: Tensor):
        super().__init__()
        self.num_codes, self.channels = colours.shape
        check(2 <= self.num_codes <= ENTRIES, "palette", self.num_codes, f"must have 2 to {ENTRIES} colours")
        self.register_buffer("colours", colours.to(torch.uint8))

    @property
    def entries(self) -> Tensor:
        """Premultiplied colours (K, C), float32 in [0, 1]."""
        return from_levels(self.colours.T[:, :, None])[..., 0].T

    @property
    def alpha(self) -> Tensor:
        """Alpha of each entry, (K,) uint8."""
        opaque = torch.full_like(self.colours[:, 0], 255)
        return self.colours[:, -1] if has_alpha(self.channels) else opaque

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes (B, h, w) of images (B, C, h, w) in [0, 1]: their nearest entries.

        Raises:
            ValueError: wrong number of channels.
        """
        places = 256 ** torch.arange(self.channels, device=images.device)
        packed = (to_levels(self.checked(images)).movedim(1, -1).long() * places).sum(-1)
        colours, place = packed.unique(return_inverse=True)  # pixel art has few: that saves most distances
        return self.nearest((colours[:, None] // places % 256).to(torch.uint8))[place]

    def nearest(self, colours: Tensor) -> Tensor:
        """Entries (n,) nearest to colours (n, C) uint8, straight with alpha."""
        if has_alpha(self.channels) and bool(((self.alpha == 0) | (self.alpha == 255)).all()):
            seen = colours[:, -1:] >= 128
            opaque = torch.cat([colours[:, :-1], torch.full_like(colours[:, -1:], 255)], 1)
            colours = torch.where(seen, opaque, torch.zeros_like(opaque))
        pixels, entries = from_levels(colours.T[:, :, None])[..., 0].T, self.entries
        # the other way of computing distances rounds, and exact colours would miss their entry
        exact = "donot_use_mm_for_euclid_dist"
        found = [torch.cdist(p, entries, compute_mode=exact).argmin(-1) for p in pixels.split(AT_ONCE)]
        return torch.cat(found)

    def images(self, codes: Tensor) -> Tensor:
        """Images (B, C, h, w) of codes (B, h, w), as ``decode`` gives them, unchecked (for export)."""
        return self.entries[codes].movedim(-1, 1)

    def indexed(self, codes: Tensor) -> list[Image.Image]:
        """Pillow images of codes (B, h, w) in mode P: entry k of their palette is code k, its alpha
        included."""
        need_codes(codes, self.num_codes)
        rgba = self.rgba()
        images = []
        for array in codes.cpu().numpy().astype(np.uint8):
            image = Image.fromarray(array, "P")
            image.putpalette(rgba[:, :3].tobytes())
            if rgba[:, 3].min() < 255:
                image.info["transparency"] = rgba[:, 3].tobytes()
            images.append(image)
        return images

    def rgba(self) -> np.ndarray:
        """All entries, (K, 4) uint8."""
        colours = self.colours.cpu().numpy()
        shown = colours[:, : self.channels - has_alpha(self.channels)]
        grey = np.repeat(shown, 3, 1) if shown.shape[1] == 1 else shown
        return np.concatenate([grey, self.alpha.cpu().numpy()[:, None]], 1)

    def features(self) -> Tensor:
        """Each entry as a point (K, 64) for embeddings to start from, near others that look alike and far
        from all else: random Fourier features (Rahimi & Recht 2007) of a Gaussian of width LIKE."""
        generator = torch.Generator().manual_seed(0)
        waves = torch.randn(self.channels, 32, generator=generator) / LIKE
        phases = self.entries.cpu() @ waves
        return torch.cat([phases.cos(), phases.sin()], 1)

    def recoloured(self, colours: np.ndarray) -> Palette:
        """The same codes in other colours, (K, 4) uint8.

        Raises:
            ConfigError: another number of entries.
        """
        hint = f"has {len(colours)} colours, and the model's palette {self.num_codes}; give as many"
        check(len(colours) == self.num_codes, "palette", len(colours), hint)
        return Palette(as_channels(colours, self.channels)).to(self.colours.device)


def start_vectors(tokenizer: Tokenizer) -> Tensor:
    """What token embeddings start from, (K, D): what codes stand for, of a palette more widely spread."""
    return tokenizer.features() if isinstance(tokenizer, Palette) else code_vectors(tokenizer)


def as_channels(rgba: np.ndarray, channels: int) -> Tensor:
    """Colours (K, 4) uint8 as those of images of 1 to 4 channels, hidden colour 0.

    Raises:
        ConfigError: alpha, and channels without it.
    """
    hint = "has transparent colours, and data.channels none; use 2 or 4"
    check(has_alpha(channels) or bool((rgba[:, 3] == 255).all()), "palette", channels, hint)
    rgba = np.where(rgba[:, 3:] == 0, 0, rgba).astype(np.uint8)
    if channels <= 2:
        grey = np.asarray(Image.fromarray(rgba[None, :, :3]).convert("L"))[0]
        return torch.from_numpy(np.stack([grey, rgba[:, 3]], 1)[:, :channels].copy())
    return torch.from_numpy(rgba[:, :channels].copy())


def read_palette(path: str | Path, repeats: bool = False) -> np.ndarray:
    """Colours of a palette file, (K, 4) uint8, in its order: an image (.png, .gif, …) of indexed or few
    colours, or .gpl (GIMP; with a line ``Channels: RGBA`` four levels per colour), .hex, .pal (JASC) or .act.

    Args:
        repeats: Keep colours that stand there more than once, as entries of their own.

    Raises:
        ConfigError: it cannot be read, or has fewer than 2 colours or more than 256.
    """
    place = Path(path).expanduser()
    kind = place.suffix.lower()
    try:
        if kind == ".act":
            found = list(np.frombuffer(place.read_bytes()[:768], np.uint8).reshape(-1, 3).tolist())
            tail = place.read_bytes()[768:772]
            found = found[: int.from_bytes(tail[:2], "big") or ENTRIES] if len(tail) == 4 else found
        elif kind in (".gpl", ".hex", ".pal"):
            found = text_colours(place.read_text(encoding="utf-8-sig"), kind)
        else:
            found = image_colours(open_image(place))
        colours = np.array([[*c, 255][:4] for c in found], np.uint8).reshape(-1, 4)
    except (OSError, ValueError, OverflowError) as error:
        hint = f"cannot be read as a palette ({error}); give an image, .gpl, .hex, .pal or .act"
        raise ConfigError("palette", str(path), hint) from error
    colours = np.where(colours[:, 3:] == 0, 0, colours)
    if not repeats:
        colours = colours[np.sort(np.unique(colours, axis=0, return_index=True)[1])]
    hint = f"has {len(colours)} colours; a palette has 2 to {ENTRIES}"
    check(2 <= len(colours) <= ENTRIES, "palette", str(path), hint)
    return colours


def text_colours(text: str, kind: str) -> list[list[int]]:
    """Colours of a file in lines: three or four levels in .gpl, three in .pal, hexadecimal digits in .hex.
    Raises ValueError for a line that is none."""
    lines = [line.strip() for line in text.splitlines()]
    if kind == ".hex":
        return [list(bytes.fromhex(line.lstrip("#"))) for line in lines if line.lstrip("#")]
    heads = ("#", "Name", "Colu", "Channels")
    rows = lines[3:] if kind == ".pal" else [x for x in lines[1:] if not x.startswith(heads)]
    levels = 4 if kind == ".gpl" and "Channels: RGBA" in lines else 3
    found = [[int(level) for level in row.split()[:levels]] for row in rows if row]
    if any(len(colour) != levels for colour in found):
        raise ValueError(f"a line has fewer than {levels} levels")
    return found


def image_colours(image: Image.Image) -> list[list[int]]:
    """The palette of an indexed image, or all colours of another."""
    if image.mode == "P":
        count = min(ENTRIES, len(image.getpalette() or []) // 3)
        strip = Image.fromarray(np.arange(count, dtype=np.uint8)[None], "P")
        strip.putpalette(image.getpalette() or [])
        if "transparency" in image.info:
            strip.info["transparency"] = image.info["transparency"]
        return list(np.asarray(strip.convert("RGBA"))[0].tolist())
    values = np.unique(np.asarray(image.convert("RGBA")).reshape(-1, 4), axis=0)
    return list(values[: ENTRIES + 1].tolist())


def chosen_colours(colours: np.ndarray, often: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` colours, (K, 4) uint8, for images: all of theirs where these are no more, else a
    median cut of the opaque ones and, where some are clear, the clear one.

    Args:
        colours: (n, 4) uint8, the different colours of the images, hidden colour 0.
        often: (n,) how many pixels have each.
    """
    if len(colours) <= count:
        return colours
    opaque = colours[:, 3] >= 128
    shown, weight = colours[opaque, :3], often[opaque]
    repeats = np.maximum(1, weight * (1 << 20) // max(1, weight.sum()))
    cut = median_cut(np.repeat(shown, repeats, 0), count - int(not opaque.all()))
    found = np.concatenate([cut, np.full((len(cut), 1), 255, np.uint8)], 1)
    clear = np.zeros((int(not opaque.all()), 4), np.uint8)
    return np.unique(np.concatenate([clear, found]), axis=0)


def median_cut(colours: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` colours (k, 3) that stand for (n, 3) uint8."""
    cut = Image.fromarray(colours[None]).quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(cut.getpalette("RGB"), np.uint8).reshape(-1, 3)[:count]
