"""Ancestral sampling: exact reverse jumps t → s of any length (Austin et al. 2021), see
:mod:`~d3pm_image.sampling.reverse_kernel`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..base import Sampler, register
from ..reverse_kernel import reverse_jump

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


@register("ancestral")
@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """Exact reverse steps of the process, with any shares of masks and random codes."""

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        return reverse_jump(state, state.probabilities(logits), state.t, state.s)
