"""Reveal the masks of which the network is most certain (MaskGIT, Chang et al. 2022, section 3.2): fill all,
keep the best, repeat.

:mod:`~d3pm_image.sampling.mask_schedule` says how many stay masked. The score is

    confidence   log p(drawn code)
    entropy      Σ p log p
    margin       p of the best less p of the second

plus τ (1-r) Gumbel noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from ..base import MaskSampler, register, setting
from ..draws import draw, gumbel
from ..mask_schedule import Reveal, keep_best, still_masked

if TYPE_CHECKING:
    from torch import Tensor

    from ..state import DecodeState


@register("confidence")
@dataclass(frozen=True, kw_only=True)
class Confidence(MaskSampler):
    """MaskGIT: keep the codes that were drawn with the highest probability.

    Args:
        gumbel: Noise of the choice of what to keep (MaskGIT's τ); larger is more varied.
        reveal: Curve of the fraction of codes still masked over the steps.
    """

    gumbel: float = setting(4.5, low=0)
    reveal: Reveal = "cosine"

    def sureness(self, p: Tensor, codes: Tensor) -> Tensor:
        """Certainty of the network about each token, (B, N), larger is more certain; p (B, N, K), codes (B,
        N)."""
        return p.gather(-1, codes[..., None])[..., 0].clamp_min(1e-300).log()

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        u_code, u_noise = state.uniforms(2)
        p = state.probabilities(logits)
        codes = draw(p, u_code)
        score = self.sureness(p, codes) + self.gumbel * (1 - state.progress) * gumbel(u_noise)
        return keep_best(state, codes, score, still_masked(state, self.reveal))


@register("entropy")
@dataclass(frozen=True, kw_only=True)
class Entropy(Confidence):
    """Keep the codes of the positions whose distribution has the lowest entropy."""

    def sureness(self, p: Tensor, codes: Tensor) -> Tensor:
        return torch.xlogy(p, p).sum(-1)


@register("margin")
@dataclass(frozen=True, kw_only=True)
class Margin(Confidence):
    """Keep the codes of the positions with the largest margin between the best and the second best code."""

    def sureness(self, p: Tensor, codes: Tensor) -> Tensor:
        best = p.topk(min(2, p.shape[-1])).values
        return best[..., 0] - best[..., -1] * (p.shape[-1] > 1)
