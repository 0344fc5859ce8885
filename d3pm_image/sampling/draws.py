"""Probabilities of codes under temperature, top-k and top-p, and draws from them by uniforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

ROWS_IN_CACHE = 128


@dataclass(frozen=True)
class LogitsFilter:
    """How logits become probabilities: temperature, then the top_k likeliest codes (0: all), then the fewest
    likeliest codes that hold a probability of top_p."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __call__(self, logits: Tensor) -> Tensor:
        """Probabilities (…, K) float64 of logits (…, K)."""
        return probabilities(logits, self.temperature, self.top_k, self.top_p)


def probabilities(logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """softmax(logits / temperature) in float64, (…, K), restricted to the likeliest codes; without gradient.
    float32 sums lose unlikely codes at K in the thousands."""
    rows = logits.detach().reshape(-1, logits.shape[-1])
    p = torch.empty(rows.shape, dtype=torch.float64, device=rows.device)
    for part, place in zip(in_cache(rows), in_cache(p), strict=True):
        z = part.to(torch.float64) / temperature if temperature != 1 else part.to(torch.float64)
        if 0 < top_k < z.shape[-1]:
            z = z.masked_fill(z < z.topk(top_k).values[..., -1:], -torch.inf)
        torch.softmax(z, -1, out=place)
    p = p.view(logits.shape)
    return nucleus(p, top_p) if top_p < 1 else p


def in_cache(rows: Tensor) -> Sequence[Tensor]:
    """Rows (n, K); on a CPU some at a time, which fit into its cache."""
    return rows.split(ROWS_IN_CACHE if rows.device.type == "cpu" else max(1, len(rows)))


def nucleus(p: Tensor, share: float) -> Tensor:
    """p (…, K) float64 restricted to its fewest largest values with a given total, and normalised (Holtzman
    et al. 2020)."""
    parts = [cut_rows(part, share) for part in in_cache(p.reshape(-1, p.shape[-1]))]
    return torch.cat(parts).view(p.shape)


def cut_rows(p: Tensor, share: float) -> Tensor:
    """:func:`nucleus` of rows (n, K)."""
    import numpy as np  # here, because --help does not need it and importing takes a tenth of a second

    single = p.float()
    # NumPy sorts values alone, with vector instructions: on a processor five times as fast as torch, which
    # carries places along
    ordered = (
        single.sort(-1).values if p.device.type != "cpu" else torch.from_numpy(np.sort(single.numpy(), -1))
    )
    ordered = ordered.flip(-1)
    count = (ordered.cumsum(-1, dtype=torch.float64) - ordered < share).sum(-1, keepdim=True).clamp_min(1)
    kept = p.masked_fill(single < ordered.gather(-1, count - 1), 0)
    return kept / kept.sum(-1, keepdim=True)


def draw(p: Tensor, uniforms: Tensor) -> Tensor:
    """Categorical draw by the inverse distribution function: p (…, K) float64, uniforms (…) in [0, 1) → int64
    (…)."""
    total = p.cumsum(-1)
    target = uniforms[..., None] * total[..., -1:]
    return torch.searchsorted(total, target, right=True)[..., 0].clamp_max(p.shape[-1] - 1)


def gumbel(uniforms: Tensor) -> Tensor:
    """Standard Gumbel noise from uniforms."""
    return -torch.log(-torch.log(uniforms.clamp(1e-12, 1 - 1e-12)))
