"""Self-correction of a finished grid (GIDD, von Rütte et al. 2025, section 4.4): a model trained with random
codes finds its own errors.

On a clean grid draw x' ~ softmax(z/τ) and change the positions with the largest 1[x' ≠ x] · p(x'); stop when
nothing improves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..diffusion import Process
from ..errors import check
from .draws import draw
from .state import DecodeState

LEVEL = 0.95  # κ that the network gets: a grid with few random codes


def check_correctable(process: Process, correct_steps: int) -> None:
    """Raises ConfigError for a model that has never seen a random code."""
    hint = "this model was trained without random codes (process.uniform_share 0); use 0"
    check(correct_steps == 0 or not process.schedule.absorbing, "correct_steps", correct_steps, hint)


def correct(state: DecodeState, logits: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """One step: codes (B, N) with up to ``tokens`` of them changed per image, and which images changed at
    all, (B,) bool.

    A change must be to a code that is likelier than the present one.
    """
    p = state.probabilities(logits)
    proposal = draw(p, state.uniforms(1)[0])
    gain = p.gather(-1, proposal[..., None])[..., 0]
    better = (proposal != state.x_t) & state.unknown & (gain > p.gather(-1, state.x_t[..., None])[..., 0])
    gain = torch.where(better, gain, torch.zeros_like(gain))
    rank = gain.argsort(-1, descending=True).argsort(-1)
    change = better & (rank < tokens)
    return torch.where(change, proposal, state.x_t), change.any(-1)
