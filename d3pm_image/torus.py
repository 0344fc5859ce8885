"""Convolutions on a torus: along a tiled axis the image goes on at its other border."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Tile, wraps

Mode = Literal["zeros", "replicate", "reflect"]


class TorusConv2d(nn.Conv2d):
    """A convolution that sees the other border beyond a border along the tiled axes, and along the others
    what its padding mode says. (B, C, H, W) → as :class:`torch.nn.Conv2d`, whose weights it has."""

    tile: Tile = "none"

    def forward(self, input: Tensor) -> Tensor:
        """Pad each axis in its own way, and convolve."""
        return F.conv2d(self.padded(input), self.weight, self.bias, self.stride)

    def padded(self, input: Tensor) -> Tensor:
        """The input with what lies beyond its borders."""
        rows, columns = wraps(self.tile)
        vertical, horizontal = (int(side) for side in self.padding)
        around = (horizontal * columns, horizontal * columns, vertical * rows, vertical * rows)
        x = F.pad(input, around, "circular")
        if not (rows and columns):
            beyond = [
                side - own for side, own in zip((horizontal,) * 2 + (vertical,) * 2, around, strict=True)
            ]
            x = F.pad(x, beyond, "constant" if self.padding_mode == "zeros" else self.padding_mode)
        return x


def convolution(
    inputs: int, outputs: int, size: int, stride: int = 1, padding_mode: Mode = "zeros", tile: Tile = "none"
) -> nn.Conv2d:
    """A convolution padded by 1: torch's own, or one on a torus."""
    if tile == "none":
        return nn.Conv2d(inputs, outputs, size, stride, padding=1, padding_mode=padding_mode)
    layer = TorusConv2d(inputs, outputs, size, stride, padding=1, padding_mode=padding_mode)
    layer.tile = tile
    return layer


def whole_turns(cells: int, rates: int, base: float) -> list[int]:
    """Turns per side of so many pairs of channels: whole numbers, so that the angle of a position is the same
    one side further on, from 1 to cells/2, beyond which they would repeat, and distinct as far as there are
    so many.

    They are those nearest to the turns cells·base^(-j/rates)/2π of positions without a torus, or 1, 2, …,
    cells/2 in turn where there are fewer of them than pairs.
    """
    most = max(1, cells // 2)
    if rates > most:
        return [1 + j % most for j in range(rates)]
    found: list[int] = []
    for j in reversed(range(rates)):  # from the slowest pair, each faster than the one before
        wanted = round(cells * base ** (-j / rates) / (2 * torch.pi))
        found.append(min(max(wanted, found[-1] + 1 if found else 1), most - j))
    return found[::-1]


def torus_angles(cells: int, rates: int, base: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Angles (cells, rates) of the positions along a tiled axis; see :func:`whole_turns`."""
    turns = torch.tensor(whole_turns(cells, rates, base), device=device)
    places = torch.arange(cells, device=device)[:, None] * turns % cells  # whole: exact in every precision
    return places.to(dtype) * (2 * torch.pi / cells)
