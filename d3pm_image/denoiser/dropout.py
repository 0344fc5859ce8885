"""Dropout whose mask is a function of one key per row: the same for an image however the batch is divided
among processes and parts.

A generator of the global batch would have every process draw for all rows; a hash of (key, position) draws
only what is needed, on any device, and compiles as plain integer arithmetic. The stream of a row is
SplitMix64 (Steele, Lea and Flood 2014, figure 10): the mixing function below applied to key + i·γ, i = 1, 2,
…; each 64-bit number serves four elements, so a rate is exact to 1/65536.
"""

from __future__ import annotations

import torch
from torch import Tensor

# 0x9E3779B97F4A7C15 as a signed number, as are the two factors: torch has no unsigned product
GAMMA = -0x61C8864680B583EB
FIRST, SECOND = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
LEVELS = 1 << 16


def mix(z: Tensor) -> Tensor:
    """SplitMix64's mixing of 64 bits, on a fresh int64 tensor of any shape, which is written over. Shifts are
    logical."""
    z ^= (z >> 30) & 0x3FFFFFFFF
    z *= FIRST
    z ^= (z >> 27) & 0x1FFFFFFFFF
    z *= SECOND
    z ^= (z >> 31) & 0x1FFFFFFFF
    return z


def stream(keys: Tensor, count: int) -> Tensor:
    """The first ``count`` numbers of the streams of keys (B,): (B, count) int64."""
    return mix(keys[:, None] + GAMMA * torch.arange(1, count + 1, device=keys.device))


def quarters(z: Tensor) -> Tensor:
    """Four signed 16-bit numbers of each of z (B, n) int64, the lowest bits first: (B, 4n)."""
    if not torch.compiler.is_compiling():
        return z.view(torch.int16)
    # torch 2.15's compiler for CPUs writes beyond the buffer of such a view; compiled, shifts cost nothing
    return torch.stack([(z << (48 - low)) >> 48 for low in (0, 16, 32, 48)], -1).flatten(1)


def dropout(x: Tensor, rate: float, keys: Tensor) -> Tensor:
    """x (B, …) with a fraction ``rate`` of each row set to zero, chosen by its key (B,) int64, and the rest
    scaled to keep the mean."""
    limit = round(rate * LEVELS)
    with torch.no_grad():
        size = x.shape[1:].numel()
        draws = quarters(stream(keys, -(-size // 4)))[:, :size].reshape(x.shape)
        scale = torch.where(draws >= limit - LEVELS // 2, LEVELS / (LEVELS - limit), 0.0).to(x.dtype)
    return x * scale
