"""The noise level that a denoiser is told where some tokens are known: these are clean, κ = 1, whatever
the level κ_t of the drawn ones.

A network that takes a level per token is told just that, and then completes an image by the same conditional
distributions by which it generates one. A network that knows one level per image is told the average over the
unmasked tokens,

    (known + κ_t · drawn) / (known + drawn)

which is exact where all unmasked tokens are of one kind. Both are κ_t itself where nothing is known, and 1
where the process makes no random codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import Denoiser
    from .state import DecodeState


def takes_token_levels(denoiser: Denoiser) -> bool:
    """Whether a denoiser, or the object that it is a method of, takes κ of shape (B, N)."""
    owner = getattr(denoiser, "__self__", denoiser)
    return bool(getattr(denoiser, "token_levels", getattr(owner, "token_levels", False)))


def average_level(state: DecodeState, kappa: Tensor) -> Tensor:
    """One level per image, (B,), where the drawn tokens are at κ_t (B,)."""
    unmasked = ~state.masked
    count = unmasked.sum(1)
    known = (unmasked & ~state.unknown).sum(1) / count.clamp_min(1)
    return torch.where(known > 0, known + (1 - known) * kappa, kappa)


def told_levels(state: DecodeState, kappa: Tensor, clean: Tensor, per_token: bool) -> Tensor:
    """What a denoiser is told, (B, N) if ``per_token`` and else (B,).

    Args:
        kappa: (B,) level of the drawn tokens, κ_t.
        clean: (B, N) bool, tokens that are known to be clean.
    """
    if state.process.schedule.absorbing:
        return kappa
    if per_token:
        return torch.where(clean, torch.ones_like(kappa)[:, None], kappa[:, None])
    return average_level(state, kappa)
