"""The only sampling loop: it calls the denoiser, applies a step rule, and puts known codes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ..config import SamplerConfig, need
from ..contracts import Denoiser, Grid
from ..diffusion import Process
from .ancestral import Ancestral
from .confidence import Confidence
from .guidance import Guided
from .state import DecodeState, ImageStreams
from .times import uniform_times


class Rule(Protocol):
    """A sampler: where it starts, which noise level it tells the denoiser, and its step."""

    def check(self, process: Process, tokens: int, steps: int) -> None: ...

    def start(self, state: DecodeState) -> Tensor: ...

    def level(self, state: DecodeState, t: float) -> Tensor: ...

    def __call__(self, state: DecodeState, logits: Tensor, t: float, s: float) -> Tensor: ...


RULES: dict[str, Callable[[SamplerConfig], Rule]] = {
    "confidence": lambda config: Confidence(config.gumbel, config.reveal),
    "ancestral": lambda config: Ancestral(),
}


def make_rule(config: SamplerConfig) -> Rule:
    """The step rule that a configuration names."""
    return RULES[config.sampler](config)


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    process: Process,
    config: SamplerConfig,
    labels: Tensor,
    no_label: int,
    grid: Grid,
    streams: ImageStreams,
    known: Tensor | None = None,
    unknown: Tensor | None = None,
) -> Tensor:
    """Draw codes.

    Args:
        denoiser: Network, in eval mode.
        process: The process that it was trained with.
        config: Sampler and its controls.
        labels: (B,) int64 in 0..C; ``no_label`` = C where an image has none.
        grid: (H, W), N = H·W.
        streams: One stream of randomness an image.
        known: (B, N) int64 clean codes of an image to complete; needed with ``unknown``.
        unknown: (B, N) bool, the positions to draw; default all.

    Returns:
        (B, N) int64 in 0..K-1; where ``unknown`` is False, ``known`` unchanged.

    Raises:
        ConfigError: the sampler does not fit the process, or too many steps.
    """
    batch, tokens = labels.shape[0], grid[0] * grid[1]
    rule = make_rule(config)
    rule.check(process, tokens, config.steps)
    if unknown is None:
        unknown = torch.ones(batch, tokens, dtype=torch.bool, device=labels.device)
        known = torch.zeros_like(unknown, dtype=torch.int64)
    need(known is not None, "known", None, "give the known codes together with the unknown positions")
    assert known is not None
    state = DecodeState(process, known, unknown, streams, config.temperature, steps=config.steps)
    state.x_t = torch.where(unknown, rule.start(state), known)
    guided = Guided(denoiser, config.guidance, no_label)
    times = uniform_times(config.steps)
    for step, (t, s) in enumerate(zip(times, times[1:], strict=False)):
        state.step = step
        logits = guided(state.x_t, rule.level(state, t), labels, grid)
        state.x_t = torch.where(unknown, rule(state, logits, t, s), known)
    assert not bool(process.is_masked(state.x_t).any()), "a sampler ended with masks"
    return state.x_t
