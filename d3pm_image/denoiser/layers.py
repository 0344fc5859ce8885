"""Transformer layers: 2-D rotary positions, attention with RMS-normed queries and keys, gated feed-forward,
and blocks modulated by the condition (adaptive normalisation, Peebles & Xie 2023, with gates that start at
1)."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..config import Tile, check, wraps
from ..recompute import Recomputable
from ..torus import torus_angles
from ..types import Grid
from .dropout import dropout

PLACE_FREQUENCIES = 8  # half turns between the borders: places of a grid of 16 cells per side are well apart


@lru_cache(maxsize=32)
def rotary_table(
    grid: Grid,
    head_width: int,
    device: torch.device,
    base: float = 100.0,
    tile: Tile = "none",
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """cos and sin (N, head_width/2) for 2-D rotary positions (Su et al. 2021, one half of the channels per
    axis).

    A quarter of the head's channels turn with the row and a quarter with the column, in pairs. ``base`` 100
    suits grids of a few to a hundred cells per side.

    Along the axes of ``tile`` a pair turns a whole number of times per side
    (:func:`~d3pm_image.torus.whole_turns`), in ``dtype``.
    """
    quarter = head_width // 4
    rates = base ** (-torch.arange(quarter, dtype=torch.float32, device=device) / quarter)
    rows, columns = (
        torus_angles(cells, quarter, base, device, dtype)
        if periodic
        else torch.arange(cells, dtype=torch.float32, device=device)[:, None] * rates
        for cells, periodic in zip(grid, wraps(tile), strict=True)
    )
    angles = torch.cat([rows.repeat_interleave(grid[1], 0), columns.repeat(grid[0], 1)], -1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel pairs (first half, second half) of x (B, heads, N, head_width) by the angles of their
    token."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


EPSILON = 1e-6
"""Of RMS norms."""

PLAIN_UP_TO = {torch.float32: 144, torch.bfloat16: 576}
"""Number of tokens up to which training on a CPU uses plain products for attention, by
``python -m benchmarks.speed attention``: torch's fused kernel for processors has a slow backward pass."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled-dot-product attention, (B, heads, N, head_width) each."""
    if q.device.type == "cpu" and q.requires_grad and q.shape[-2] <= PLAIN_UP_TO.get(q.dtype, 144):
        return plain_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The same as two matrix products, with all weights (B, heads, N, N) in memory."""
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


SHORT, ENOUGH = 448, 704
"""Inputs up to which the order of a sum never depends on the number of rows; rows from which none does."""


def product(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer(x)``, each row of which does not depend on how many there are.

    Processors with matrix units (AMX) add up long rows in bf16 in another order if there are fewer of them
    than outputs. Such products, of a few images, are filled with rows that are thrown away."""
    short = x.shape[-1] <= SHORT or x.dtype != torch.bfloat16 or x.device.type != "cpu"
    if short or x.requires_grad or torch.compiler.is_compiling():
        return layer(x)
    rows, least = x.numel() // x.shape[-1], min(layer.out_features, ENOUGH)
    if not 0 < rows < least:
        return layer(x)
    return layer(F.pad(x.reshape(rows, -1), (0, 0, 0, least - rows)))[:rows].view(*x.shape[:-1], -1)


class HeadNorm(nn.Module):
    """RMS norm with a learned scale over the last axis, in the input's own precision under autocast."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), EPSILON)


def drawing_in_bf16(x: Tensor) -> bool:
    """Whether passes over memory are worth saving for activations x: no gradients, bf16 on a processor, where
    products are fast, and no compiler, which saves them by itself."""
    half = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    return half and x.device.type == "cpu" and not (x.requires_grad or torch.compiler.is_compiling())


class TokenNorm(nn.RMSNorm):
    """RMS norm over the last axis, without a scale, of (B, N, D)."""

    def __init__(self, width: int):
        super().__init__(width, eps=EPSILON, elementwise_affine=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * inverse_rms(x) if drawing_in_bf16(x) else super().forward(x)


def inverse_rms(x: Tensor) -> Tensor:
    """1 / √(mean x² + ε) over the last axis, (…, 1) float32, in a single pass."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return torch.rsqrt(norm * norm / x.shape[-1] + EPSILON)


def drop(layer: Attention | FeedForward, x: Tensor, keys: Tensor | None) -> Tensor:
    """The residual branch of a layer, with dropout in training, drawn from keys (B,); see :mod:`.dropout`.

    Raises:
        ConfigError: training with dropout, and no keys.
    """
    if not layer.training or not layer.dropout:
        return x
    hint = "training with dropout needs a key for every row: pass keys (StepRandom.keys)"
    check(keys is not None, "denoiser.dropout", layer.dropout, hint)
    assert keys is not None
    return dropout(x, layer.dropout, keys)


class Attention(nn.Module):
    """Bidirectional self-attention over N tokens. (B, N, D) → (B, N, D)."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = HeadNorm(width // heads)
        self.key_norm = HeadNorm(width // heads)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, keys: Tensor | None = None) -> Tensor:
        b, n, d = x.shape
        qkv = product(self.qkv, x).view(b, n, 3, self.heads, d // self.heads)
        cos, sin = cos.to(qkv.dtype), sin.to(qkv.dtype)
        if drawing_in_bf16(qkv):
            q, k = self.turned(qkv[:, :, :2], cos, sin).permute(2, 0, 3, 1, 4)
            v = qkv[:, :, 2].transpose(1, 2)
        else:
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            q, k = rotate(self.query_norm(q), cos, sin), rotate(self.key_norm(k), cos, sin)
        y = attend(q, k, v)
        return drop(self, product(self.out, y.transpose(1, 2).reshape(b, n, d)), keys)

    def turned(self, qk: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Queries and keys (B, N, 2, heads, head_width), normalised and turned in the order in which they
        lie, the norms' scales as part of the angles' table: half as many passes over memory."""
        scale = torch.stack([self.query_norm.weight, self.key_norm.weight]).to(qk.dtype)[:, None]
        one, two = scale.chunk(2, -1)
        cos, sin = cos[:, None, None], sin[:, None, None]
        first, second = (qk * inverse_rms(qk).to(qk.dtype)).chunk(2, -1)
        turned = (
            torch.addcmul(first * (one * cos), second, -two * sin),
            torch.addcmul(first * (one * sin), second, two * cos),
        )
        return torch.cat(turned, -1)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): out(silu(gate(x)) · up(x)). (B, N, D) → (B, N, D)."""

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__()
        self.dropout = dropout
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        gate, up = product(self.gate_up, x).chunk(2, -1)
        return drop(self, product(self.out, F.silu(gate) * up), keys)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x·(1 + scale) + shift in the precision of the modulation (half under autocast: the next layer casts
    anyway)."""
    return torch.addcmul(shift, x.to(scale.dtype), 1 + scale)


def per_image(rows: Tensor, x: Tensor) -> Tensor:
    """Rows of a condition (R, D) as (B, 1, D), for tokens x (B, …): the first B of them, should there be more
    (never in an exported graph, where comparing the two would trace everything twice)."""
    return (rows if torch.compiler.is_exporting() else rows[: len(x)])[:, None]


class Block(Recomputable):
    """Attention and feed-forward, each normalised, shifted, scaled and gated by the condition (B, D). Keys
    (B,): of the two layers' dropout."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float):
        super().__init__()
        self.norm1 = TokenNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.norm2 = TokenNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        cos: Tensor,
        sin: Tensor,
        keys: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        return self.run(self.layers, x, condition, cos, sin, keys)

    def layers(
        self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor, keys: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        """The forward pass."""
        first, second = keys or (None, None)
        shift1, scale1, gate1, shift2, scale2, gate2 = per_image(self.modulation(condition), x).chunk(6, -1)
        x = x + (1 + gate1) * self.attention(modulate(self.norm1(x), shift1, scale1), cos, sin, first)
        return x + (1 + gate2) * self.feed_forward(modulate(self.norm2(x), shift2, scale2), second)


class Places(nn.Module):
    """A learnt vector (N, D) for every position of a grid of any size, row by row: sines and cosines of its
    coordinates through two layers.

    Coordinates run from -1 to 1 between the borders, so a grid of another size gets the same vectors, more or
    less finely. Rotary positions contain only distances: without these vectors all cells of a fully masked
    grid would get the same prediction. On a torus all cells are alike: along the axes of ``tile``, of which
    there is at most one, a place has no coordinate.
    """

    def __init__(self, width: int, tile: Tile = "none"):
        super().__init__()
        self.axes = [axis for axis, periodic in enumerate(wraps(tile)) if not periodic]
        self.enter = nn.Linear(2 * len(self.axes) * PLACE_FREQUENCIES, width)
        self.leave = nn.Linear(width, width)
        nn.init.normal_(self.leave.weight, std=width**-0.5)  # on the scale of the embedded tokens

    def forward(self, grid: Grid) -> Tensor:
        device = self.enter.weight.device
        # float32 whatever torch's default is, like the weights
        turns = torch.arange(1, PLACE_FREQUENCIES + 1, dtype=torch.float32, device=device) * (math.pi / 2)
        waves = []
        for axis in self.axes:
            n = grid[axis]
            a = ((torch.arange(n, dtype=torch.float32, device=device) + 0.5) * (2 / n) - 1)[:, None] * turns
            wave = torch.cat([a.sin(), a.cos()], dim=1)
            waves.append(wave.repeat_interleave(grid[1], 0) if axis == 0 else wave.repeat(grid[0], 1))
        return self.leave(F.silu(self.enter(torch.cat(waves, dim=1).to(self.enter.weight.dtype))))


class LevelEmbedding(nn.Module):
    """Noise level κ (B,) in [0, 1] → (B, D): Fourier features through a two-layer network.

    Resolution matters near κ = 1, where posteriors change fastest, so features of -log10(1-κ+1e-4) stand
    beside     those of κ.
    """

    rates: Tensor

    def __init__(self, width: int, frequencies: int = 16):
        super().__init__()
        # on the meta device powers of 2 would import torch's compiler, which takes seconds
        rates = 2.0 ** torch.linspace(-1, 4, frequencies, device="cpu") * math.pi
        self.register_buffer("rates", rates.to(torch.get_default_device()), persistent=False)
        self.network = nn.Sequential(nn.Linear(4 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, kappa: Tensor) -> Tensor:
        kappa = kappa.float()
        stretched = -torch.log10(1 - kappa.clamp(0, 1) + 1e-4) / 4
        angles = torch.cat([kappa[:, None] * self.rates, stretched[:, None] * self.rates], -1)
        return self.network(torch.cat([angles.cos(), angles.sin()], -1))
