"""The contact sheet of one image: decoded and as codes at chosen steps, and the map of the order in which its
cells came."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data.spread import spread_over
from ..types import Grid
from .code_images import Decode, code_tiles, decoded_tiles
from .recorder import Reveals, Trajectory, reveals

MOST_COLUMNS, MOST_WIDTH = 12, 2400  # columns of a sheet, and pixels beyond which it has fewer
GAP, MARGIN, LABELS = 4, 14, 74
INK, FAINT, STILL = (30, 30, 34), (110, 110, 118), (222, 222, 226)
REMASKED, REPLACED = (226, 26, 28), (255, 140, 0)
RAMP = np.array(
    [
        (8, 29, 88),
        (37, 52, 148),
        (34, 94, 168),
        (29, 145, 192),
        (65, 182, 196),
        (127, 205, 187),
        (199, 233, 180),
        (255, 255, 217),
    ]
)  # ColorBrewer's YlGnBu, dark to bright


def ramp(share: float) -> tuple[int, int, int]:
    """Colour of a fraction in [0, 1], dark to bright."""
    place = share * (len(RAMP) - 1)
    return tuple(round(float(np.interp(place, range(len(RAMP)), RAMP[:, i]))) for i in range(3))  # type: ignore[return-value]


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, with a height in pixels."""
    return ImageFont.load_default(size=size)


def tile_row(
    label: str, tiles: list[Image.Image], above: list[str] | None = None, below: list[str] | None = None
) -> Image.Image:
    """Tiles side by side, RGB, with a label on the left and a text above and below each."""
    width, height = tiles[0].size
    top, bottom = 20 * bool(above), 18 * bool(below)
    row = Image.new("RGB", (LABELS + len(tiles) * (width + GAP) - GAP, top + height + bottom), "white")
    draw = ImageDraw.Draw(row)
    draw.text((LABELS - 12, top + height / 2), label, fill=INK, font=font(14), anchor="rm")
    for number, tile in enumerate(tiles):
        x = LABELS + number * (width + GAP)
        row.paste(tile.convert("RGB"), (x, top))
        if above:
            draw.text((x + width / 2, 2), above[number], fill=INK, font=font(13), anchor="ma")
        if below:
            draw.text(
                (x + width / 2, top + height + 3), below[number], fill=FAINT, font=font(12), anchor="ma"
            )
    return row


def mark(draw: ImageDraw.ImageDraw, x: int, y: int, cell: int, remasked: bool, replaced: bool) -> None:
    """The marks of a cell: a red frame where it was masked again, an orange corner where its code was
    replaced."""
    if remasked:
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), outline=REMASKED, width=max(1, cell // 10))
    if replaced:
        side = max(2, cell * 2 // 5)
        draw.polygon(
            [(x + cell - 2 - side, y), (x + cell - 2, y), (x + cell - 2, y + side)],
            fill=REPLACED,
            outline=INK if cell >= 16 else None,
        )


def order_map(seen: Reveals, image: int, grid: Grid, steps: int, cell: int) -> Image.Image:
    """Cells coloured from dark (early) to bright (late), with their step where it fits, and the marks of
    :func:`mark`.

    Args:
        seen: What happened to the cells, image ``image`` of it.
        grid: (H, W).
        steps: Of the decode.
        cell: Side of a cell in pixels.
    """
    original = Image.new("RGB", (grid[1] * cell - 1, grid[0] * cell - 1), "white")
    draw = ImageDraw.Draw(original)
    text = font(max(9, cell * 2 // 5))
    for number in range(grid[0] * grid[1]):
        x, y, step = number % grid[1] * cell, number // grid[1] * cell, int(seen.step[image, number])
        share = (step - 1) / max(1, steps - 1)
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=ramp(share) if step else STILL)
        if step and cell >= 20:
            draw.text(
                (x + cell / 2 - 0.5, y + cell / 2),
                str(step),
                fill="white" if share < 0.45 else INK,
                font=text,
                anchor="mm",
            )
        mark(draw, x, y, cell, bool(seen.remasked[image, number]), bool(seen.replaced[image, number]))
    return original


def legend(seen: Reveals, image: int, steps: int, words: str) -> Image.Image:
    """Legend of the colours (``words``) and marks of :func:`order_map`, with numbers of cells."""
    box, bar = 20, 260
    entries = [
        (f"masked again at least once: {int(seen.remasked[image].sum())}", True, False, (150, 185, 205)),
        (
            f"code replaced without being masked: {int(seen.replaced[image].sum())}",
            False,
            True,
            (150, 185, 205),
        ),
    ]
    still = int((seen.step[image] == 0).sum())
    entries += [(f"never drawn (known) or never changed: {still}", False, False, STILL)] if still else []
    original = Image.new("RGB", (520, 84 + 28 * len(entries)), "white")
    draw = ImageDraw.Draw(original)
    draw.text((0, 0), words, fill=INK, font=font(14))
    for x in range(bar):
        draw.line((x, 24, x, 40), fill=ramp(x / (bar - 1)))
    draw.text((0, 44), "1", fill=FAINT, font=font(12))
    draw.text((bar, 44), str(steps), fill=FAINT, font=font(12), anchor="ra")
    for number, (text, remasked, replaced, colour) in enumerate(entries):
        y = 76 + 28 * number
        draw.rectangle((0, y, box - 2, y + box - 2), fill=colour)
        mark(draw, 0, y, box, remasked, replaced)
        draw.text((box + 8, y + box / 2), text, fill=INK, font=font(13), anchor="lm")
    return original


def meaning(ever_masked: Tensor, step: Tensor) -> str:
    """Meaning of the steps (N) of an order map, for cells that have been masks (N) and others."""
    if not bool(ever_masked.any()):
        return "step of the last change"
    also = bool((~ever_masked & (step > 0)).any())
    return "step of the last reveal" + "; where there never was a mask, of the last change" * also


def beside(label: str, left: Image.Image, right: Image.Image) -> Image.Image:
    """Two images side by side under a row's label."""
    row = Image.new("RGB", (LABELS + left.width + 28 + right.width, max(left.height, right.height)), "white")
    row.paste(left, (LABELS, 0))
    row.paste(right, (LABELS + left.width + 28, 0))
    ImageDraw.Draw(row).text((LABELS - 12, row.height / 2), label, fill=INK, font=font(14), anchor="rm")
    return row


def contact_sheet(
    trajectory: Trajectory, grid: Grid, decode: Decode, title: str = "", image: int = 0
) -> Image.Image:
    """One image's decode at up to 12 steps: decoded, as codes, and the map of the order of its cells.

    Args:
        trajectory: Recorded grids.
        grid: (H, W), N = H·W.
        decode: Codes (B, H, W) to images (B, C, h, w) in [0, 1].
        title: A line above all.
        image: Number of the image in the trajectory.

    Returns:
        RGB image.
    """
    codes, masked = trajectory.codes[:, image], trajectory.masked[:, image]
    steps = len(trajectory) - 1
    width, height = decoded_tiles(codes[-1:], masked[-1:], grid, decode)[0].size
    chosen = spread_over(len(trajectory), max(2, min(MOST_COLUMNS, MOST_WIDTH // width))).tolist()
    decoded = decoded_tiles(codes[chosen], masked[chosen], grid, decode)
    coloured = code_tiles(codes[chosen], masked[chosen], grid, (width, height))
    seen = reveals(trajectory)
    cell = max(6, min(40, 2 * height // grid[0]))
    left_over = [f"{int(m.sum())} masked" if bool(masked.any()) else "" for m in masked[chosen]]
    rows = [
        tile_row("decoded", decoded, [f"step {i}" if i else "start" for i in chosen]),
        tile_row("codes", coloured, below=left_over),
        beside(
            "order",
            order_map(seen, image, grid, steps, cell),
            legend(seen, image, steps, meaning(masked.any(0), seen.step[image])),
        ),
    ]
    top = MARGIN + 26 * bool(title)
    size = (
        max(row.width for row in rows) + 2 * MARGIN,
        top + sum(row.height for row in rows) + 2 * GAP + 10 + MARGIN,
    )
    sheet = Image.new("RGB", size, "white")
    ImageDraw.Draw(sheet).text((MARGIN, MARGIN - 2), title, fill=INK, font=font(15))
    for row, gap in zip(rows, (GAP, GAP + 10, 0), strict=True):
        sheet.paste(row, (MARGIN, top))
        top += row.height + gap
    return sheet
