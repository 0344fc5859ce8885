"""Codes of any grid, by windows of the grid that the denoiser was trained on.

A window draws the cells in it that are still unknown; everything else in it, given or already drawn, is what it goes by. Windows overlap by
half, and the next one is always the one with the most known cells, so that a picture grows outward from what is known. A grid of the
trained size is one window: plain sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..contracts import Grid
from ..sampling import Request, sample
from .model import Model


def draw_codes(
    model: Model, request: Request, places: Sequence[int], labels: Tensor, known: Tensor, unknown: Tensor, begin: float = 1.0
) -> Tensor:
    """Codes (b, H, W), drawn where ``unknown`` and otherwise as known.

    Args:
        model: Denoiser and process.
        request: Sampler, seeds and watch.
        places: Which images of the request these are.
        labels: (b,) int64.
        known: (b, H, W) codes; what stands at unknown cells matters for ``begin`` under 1 alone.
        unknown: (b, H, W) bool; on a grid larger than the trained one all images must share it.
        begin: See :func:`~d3pm_image.sampling.sample`.
    """
    streams, codes, left = request.streams(places, model.device), known.clone(), unknown.clone()
    for row, column in window_order(unknown.any(0).cpu(), model.grid):
        window = slice(None), slice(row, row + model.grid[0]), slice(column, column + model.grid[1])
        drawn = sample(
            model.predict,
            model.process,
            request.config,
            labels,
            model.no_label,
            model.grid,
            streams,
            codes[window].flatten(1),
            left[window].flatten(1),
            request.watch,
            begin,
        )
        codes[window] = drawn.view(-1, *model.grid)
        left[window] = False
    return codes


def window_order(unknown: Tensor, size: Grid) -> list[tuple[int, int]]:
    """Corners (row, column) of windows of a size that cover all unknown cells (H, W), in the order in which they are to be drawn."""
    left, order = unknown.clone(), []
    rows, columns = (torch.tensor(starts(length, side)) for length, side in zip(unknown.shape, size, strict=True))
    while bool(left.any()):
        open_cells = counts(left, rows, columns, size)
        # the fewest unknown cells, of the windows that have any; the first of equals, row by row
        best = int(torch.where(open_cells > 0, open_cells, size[0] * size[1] + 1).argmin())
        row, column = int(rows[best // len(columns)]), int(columns[best % len(columns)])
        order.append((row, column))
        left[row : row + size[0], column : column + size[1]] = False
    return order


def starts(length: int, side: int) -> list[int]:
    """Where windows of a side begin along an axis: every half side, and one that ends where the axis ends."""
    return sorted({*range(0, length - side, max(1, side // 2)), length - side})


def counts(cells: Tensor, rows: Tensor, columns: Tensor, size: Grid) -> Tensor:
    """True cells (H, W) in the windows of a size that begin at some rows and columns, (rows, columns) int64."""
    table = F.pad(cells.long().cumsum(0).cumsum(1), (1, 0, 1, 0))
    above, below = table[rows], table[rows + size[0]]
    return (below - above)[:, columns + size[1]] - (below - above)[:, columns]
