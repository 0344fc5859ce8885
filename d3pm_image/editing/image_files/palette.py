"""Paste a painting into an image of indexed colours: every index in use keeps its colour.

Painted pixels take the nearest opaque colour of the palette. The palette of an image seldom has the colours
of the painting. So a second palette is tried, in which entries that no known pixel uses get colours of the
painting (median cut), and the one with the smaller squared error is used. It may have up to 256 entries.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ...tokenizer.palette import ENTRIES, median_cut

AT_ONCE = 1 << 14
"""Colours that are compared with a palette at a time."""


def paste_indexed(
    original: Image.Image, colours: np.ndarray, touched: np.ndarray, opacity: np.ndarray | None = None
) -> Image.Image:
    """A copy of a P or PA image with some of its pixels painted.

    Args:
        colours: (n, 3) uint8, colours of the painted pixels, row by row.
        touched: (h, w) bool, the n painted pixels. All other pixels keep index and opacity.
        opacity: (n,) uint8 of the painted pixels, opaque where None. Mode P takes its transparent entry,
            where it has one, for those under 128.
    """
    values = np.array(original)
    index = values if original.mode == "P" else values[..., 0]
    entries, count, alpha = read_palette(original)
    clear, hole = np.zeros(len(colours), bool), np.nonzero(alpha == 0)[0]
    if opacity is not None and original.mode == "P" and len(hole):
        clear = opacity < 128
    colours, painted = colours[~clear], touched.copy()
    painted[touched] = ~clear
    wanted, place, often = distinct(colours)
    used = np.zeros(ENTRIES, bool)
    used[index[~touched]] = True
    there = (np.arange(ENTRIES) < count) & (alpha == 255)
    chosen, error = nearest(wanted, often, entries, there)
    # the transparent index of a GIF is kept, whether a pixel has it or not
    kept = used | (np.arange(ENTRIES) == original.info.get("transparency"))
    if clear.any():
        kept[hole[0]] = True
        index[touched & ~painted] = hole[0]
    free = np.nonzero(~kept)[0]
    result = original.copy()
    if error > 0 and len(free):
        new = wanted if len(wanted) <= len(free) else median_cut(colours, len(free))
        free = free[: len(new)]
        refilled, opaque = entries.copy(), there & used
        refilled[free], opaque[free] = new, True
        found, less = nearest(wanted, often, refilled, opaque)
        if less < error:
            chosen = found
            alpha[free] = 255
            write_palette(result, refilled, max(count, int(free.max()) + 1), alpha)
    index[painted] = chosen[place]
    if original.mode == "PA":
        values[..., 1][touched] = 255 if opacity is None else opacity
    result.frombytes(values.tobytes())
    return result


def read_palette(image: Image.Image) -> tuple[np.ndarray, int, np.ndarray]:
    """Colours (256, 3) of a palette, how many there are, and their opacity (256,), all uint8."""
    colours, alpha = np.zeros((ENTRIES, 3), np.uint8), np.full(ENTRIES, 255, np.uint8)
    given = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:ENTRIES]
    colours[: len(given)] = given
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        alpha[transparent] = 0
    elif transparent is not None:
        alpha[: len(transparent)] = np.frombuffer(bytes(transparent)[:ENTRIES], np.uint8)
    elif image.palette is not None and image.palette.mode == "RGBA" and image.mode == "P":
        own = np.array(image.getpalette("RGBA"), np.uint8).reshape(-1, 4)[:ENTRIES, 3]
        alpha[: len(own)] = own
    return colours, len(given), alpha


def write_palette(image: Image.Image, colours: np.ndarray, count: int, alpha: np.ndarray) -> None:
    """Give an image a palette of ``count`` entries, with their opacity where the image had any."""
    transparent = image.info.get("transparency")
    if (
        transparent is None
        and image.palette is not None
        and image.palette.mode == "RGBA"
        and image.mode == "P"
    ):
        image.putpalette(np.concatenate([colours, alpha[:, None]], axis=1)[:count].tobytes(), "RGBA")
        return
    image.putpalette(colours[:count].tobytes(), "RGB")
    if isinstance(transparent, bytes):
        image.info["transparency"] = alpha[: len(transparent)].tobytes()


def nearest(
    wanted: np.ndarray, often: np.ndarray, entries: np.ndarray, allowed: np.ndarray
) -> tuple[np.ndarray, float]:
    """Index of the nearest allowed entry for each colour (n, 3), and the summed squared error of pixels that
    want it ``often`` (n,)."""
    indices = np.nonzero(allowed)[0]
    if not len(indices):
        return np.zeros(len(wanted), np.uint8), float("inf")
    palette = entries[indices].astype(np.float32)
    chosen, error = np.empty(len(wanted), np.uint8), 0.0
    for start in range(0, len(wanted), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        colours = wanted[part].astype(np.float32)
        # exact in float32: no sum of squares is over 3 · 255²
        distances = (colours**2).sum(1)[:, None] - 2 * colours @ palette.T + (palette**2).sum(1)
        best = distances.argmin(1)
        chosen[part] = indices[best]
        error += float((distances[np.arange(len(best)), best] * often[part]).sum(dtype=np.float64))
    return chosen, error


def distinct(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different colours (k, 3) among (n, 3) uint8, which of them each one is (n,), and how often each is
    there (k,)."""
    packed = (colours.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(1, dtype=np.uint32)
    values, place, often = np.unique(packed, return_inverse=True, return_counts=True)
    return (values[:, None] >> np.array([16, 8, 0], np.uint32)).astype(np.uint8), place, often
