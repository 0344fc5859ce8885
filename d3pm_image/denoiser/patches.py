"""Several cells per token: a square of p × p code cells enters the transformer as one token and leaves it as
p × p cells.

Attention over N cells costs N², so grids of a thousand cells and more (pixels as codes) need fewer tokens. A
token alone would lose detail: it has D numbers for p² cells. So each cell keeps features of its own: a 3 × 3
convolution over the embedded cells is added to the token's features of the cell, and a gated layer mixes the
two.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..config import Tile
from ..torus import convolution
from ..types import Grid
from .layers import FeedForward, HeadNorm


def patchify(cells: Tensor, grid: Grid, patch: int) -> Tensor:
    """Cells (B, H·W, E), row by row, to tokens (B, H/p · W/p, p·p·E), row by row, their cells row by row."""
    b, _, e = cells.shape
    height, width = grid[0] // patch, grid[1] // patch
    return (
        cells.view(b, height, patch, width, patch, e)
        .transpose(2, 3)
        .reshape(b, height * width, patch * patch * e)
    )


def unpatchify(tokens: Tensor, grid: Grid, patch: int) -> Tensor:
    """Inverse of :func:`patchify`: tokens (B, H/p · W/p, p·p·E) to cells (B, H·W, E) of a grid (H, W)."""
    b, height, width = len(tokens), grid[0] // patch, grid[1] // patch
    return tokens.view(b, height, width, patch, patch, -1).transpose(2, 3).reshape(b, grid[0] * grid[1], -1)


class Patches(nn.Module):
    """Layers from embedded cells to tokens, and from tokens back to features of cells.

    Args:
        width: Channels of a token, D.
        cell_width: Channels of a cell, E, of input and output.
        patch: Cells per side of a token, p.
        dropout: Of the gated layer.
        tile: Axes along which the grid is a torus.
    """

    def __init__(self, width: int, cell_width: int, patch: int, dropout: float, tile: Tile = "none"):
        super().__init__()
        self.patch = patch
        self.enter = nn.Linear(patch * patch * cell_width, width)
        self.leave = nn.Linear(width, patch * patch * cell_width)
        self.around = convolution(cell_width, cell_width, 3, tile=tile)
        self.norm = HeadNorm(cell_width)
        self.mix = FeedForward(cell_width, 2 * cell_width, dropout)
        # tokens enter the blocks, and cells leave them, at the scale of their input
        nn.init.normal_(self.enter.weight, std=self.enter.in_features**-0.5)
        nn.init.normal_(self.leave.weight, std=self.leave.in_features**-0.5)

    def tokens(self, cells: Tensor, grid: Grid) -> Tensor:
        """Tokens (B, N/p², D) of embedded cells (B, N, E) on a grid (H, W) whose sides p divides."""
        return self.enter(patchify(cells, grid, self.patch))

    def cells(self, tokens: Tensor, cells: Tensor, grid: Grid, keys: Tensor | None = None) -> Tensor:
        """Features (B, N, E) of tokens (B, N/p², D) and of the embedded cells (B, N, E) that they were made
        of. Keys (B,): of dropout."""
        around = self.around(cells.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)
        x = self.norm(unpatchify(self.leave(tokens), grid, self.patch) + around)
        return x + self.mix(x, keys)
