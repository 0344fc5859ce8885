"""Codes of a grid of any size, drawn in windows of the size that the denoiser was trained on.

A window draws the cells in it that are still unknown; all others in it, given or already drawn, are its
context. Windows overlap by half, and the next one is always the one with the most known cells, so that a
image grows outward from what is known. A grid of the trained size is one window: plain sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..sampling.loop import sample
from ..sampling.request import Request
from ..types import Grid
from .model import Model


def draw_codes(
    model: Model,
    request: Request,
    places: Sequence[int],
    labels: Tensor,
    known: Tensor,
    unknown: Tensor,
    begin: float = 1.0,
    bar: tqdm | None = None,
) -> Tensor:
    """Codes (b, H, W), drawn where ``unknown`` and otherwise as known.

    Args:
        model: Denoiser and process.
        request: Sampler, seeds and callback.
        places: Indices of these images in the request.
        labels: (b,) int64.
        known: (b, H, W) codes; those of unknown cells matter only for ``begin`` under 1.
        unknown: (b, H, W) bool; on a grid larger than the trained one all images must share it.
        begin: See :func:`~d3pm_image.sampling.loop.sample`.
        bar: Progress bar that counts windows; its total grows by those of this call.
    """
    streams, codes, left = request.streams(places, model.device), known.clone(), unknown.clone()
    order = window_order(unknown.any(0).cpu(), model.grid)
    if bar is not None:
        expect(bar, len(order))
    for row, column in order:
        window = slice(None), slice(row, row + model.grid[0]), slice(column, column + model.grid[1])
        drawn = sample(
            model.predict,
            model.process,
            request,
            labels,
            model.no_label,
            model.grid,
            streams,
            codes[window].flatten(1),
            left[window].flatten(1),
            begin,
        )
        codes[window] = drawn.view(-1, *model.grid)
        left[window] = False
        if bar is not None:
            bar.update()
    return codes


def expect(bar: tqdm, windows: int) -> None:
    """More windows on a progress bar; its clock begins with the first ones."""
    if bar.total:
        bar.total += windows
    else:
        bar.reset(windows)


def window_count(size: Grid, window: Grid) -> int:
    """Largest number of windows of a code grid (H, W)."""
    return len(starts(size[0], window[0])) * len(starts(size[1], window[1]))


def window_order(unknown: Tensor, size: Grid) -> list[tuple[int, int]]:
    """Corners (row, column) of windows of a size that cover all unknown cells (H, W), in the order in which
    they are to be drawn."""
    left, order = unknown.clone(), list[tuple[int, int]]()
    rows, columns = (
        torch.tensor(starts(length, side)) for length, side in zip(unknown.shape, size, strict=True)
    )
    open_cells, none = counts(left, rows, columns, size), size[0] * size[1] + 1
    open_cells[open_cells == 0] = none
    while True:
        # the fewest unknown cells, of the windows that have any; the first of equals, row by row
        best = int(open_cells.argmin())
        row, column = int(rows[best // len(columns)]), int(columns[best % len(columns)])
        if int(open_cells.view(-1)[best]) == none:
            return order
        order.append((row, column))
        left[row : row + size[0], column : column + size[1]] = False
        # only windows that overlap this one have fewer now
        near = overlapping(rows, row, size[0]), overlapping(columns, column, size[1])
        again = counts(left, rows[near[0]], columns[near[1]], size)
        open_cells[near] = torch.where(again > 0, again, none)


def overlapping(starts: Tensor, start: int, side: int) -> slice:
    """Which windows of a side, by their ascending starts, share cells with the one at ``start``."""
    first, last = torch.searchsorted(starts, torch.tensor([start - side + 1, start + side])).tolist()
    return slice(first, last)


def starts(length: int, side: int) -> list[int]:
    """Where windows of a side begin along an axis: every half side, and one that ends where the axis ends."""
    return sorted({*range(0, length - side, max(1, side // 2)), length - side})


def counts(cells: Tensor, rows: Tensor, columns: Tensor, size: Grid) -> Tensor:
    """True cells (H, W) in the windows of a size that begin at some rows and columns, (rows, columns)
    int64."""
    top, left = int(rows[0]), int(columns[0])
    part = cells[top : int(rows[-1]) + size[0], left : int(columns[-1]) + size[1]]
    table, rows, columns = F.pad(part.long().cumsum(0).cumsum(1), (1, 0, 1, 0)), rows - top, columns - left
    above, below = table[rows], table[rows + size[0]]
    return (below - above)[:, columns + size[1]] - (below - above)[:, columns]
