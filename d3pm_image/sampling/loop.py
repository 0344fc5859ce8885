"""The only sampling loop: it calls the denoiser, applies a step rule, and puts known codes back.

It spends no network call that it need not: images that are finished are left out; where the process has no random codes, an image
whose tokens did not change keeps its logits; the head runs at the positions that the rule reads; both halves of guidance share a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import SamplerConfig, need
from ..diffusion import Process, leave_one_out_logits
from ..types import Denoiser, Grid
from .correct import LEVEL, check_correctable, correct
from .guidance import Guided, weight_at
from .rule import Rule
from .rules import make_rule
from .state import Controls, DecodeState, ImageStreams

CORRECT_SHARE = 0.05  # of an image's unknown tokens that a correction step may change


@dataclass(frozen=True)
class Frame:
    """A decode after one step: (B, N) codes with masks, and the network calls (images) spent so far."""

    step: int
    steps: int
    x_t: Tensor
    masked: Tensor
    calls: int


Watch = Callable[[Frame], None]


@dataclass
class Caller:
    """The denoiser as the loop calls it: guidance, leave-one-out logits, positions left out (logits 0), logits kept where nothing changed."""

    denoiser: Denoiser
    process: Process
    config: SamplerConfig
    labels: Tensor
    no_label: int
    grid: Grid
    calls: int = 0
    kept: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self):
        negative = self.no_label if self.config.negative_label < 0 else self.config.negative_label
        need(negative <= self.no_label, "negative_label", negative, f"there are classes 0 to {self.no_label - 1}; -1 means none")
        self.guided = Guided(self.denoiser, self.no_label, negative)
        self.selective = "where" in inspect.signature(getattr(self.denoiser, "forward", self.denoiser)).parameters

    def __call__(self, state: DecodeState, images: Tensor, kappa: Tensor, wanted: Tensor, progress: float) -> Tensor:
        """Leave-one-out logits (b, N, K) of the images of ``state``, which are numbers ``images`` of the batch."""
        weight = weight_at(self.config, progress)
        if not self.process.schedule.absorbing:
            return self._predict(state.x_t, kappa, self.labels[images], wanted, weight)
        key = torch.cat([state.x_t, torch.full_like(state.x_t[:, :1], round(weight * 1e6))], 1)
        known = self.kept.get("key")
        fresh = torch.ones(len(images), dtype=torch.bool, device=key.device) if known is None else (known[images] != key).any(1)
        if bool(fresh.any()):
            rows = fresh.nonzero()[:, 0]
            logits = self._predict(state.x_t[rows], kappa[rows], self.labels[images[rows]], wanted[rows], weight)
            if known is None:
                self.kept = {"key": key.new_full((len(self.labels), key.shape[1]), -1), "logits": logits.new_empty(len(self.labels), *logits.shape[1:])}  # fmt: skip
            self.kept["key"][images[rows]], self.kept["logits"][images[rows]] = key[rows], logits
        return self.kept["logits"][images]

    def _predict(self, x_t: Tensor, kappa: Tensor, labels: Tensor, wanted: Tensor, weight: float) -> Tensor:
        where = {"where": wanted} if self.selective else {}
        self.calls += len(x_t) * (1 if weight == 1 else 2)
        logits = leave_one_out_logits(self.process, self.guided(x_t, kappa, labels, self.grid, weight, **where), x_t, kappa)
        # a network may leave NaN where it was not asked: a rule must not read that
        return logits if bool(wanted.all()) else torch.where(wanted[..., None], logits, logits.new_zeros(()))


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
    watch: Watch | None = None,
    begin: float = 1.0,
) -> Tensor:
    """Draw codes.

    Args:
        denoiser: Network, in eval mode. One that takes ``where`` (B, N) bool may leave the logits of other positions undefined.
        process: The process that it was trained with.
        config: Sampler and its controls.
        labels: (B,) int64 in 0..C; ``no_label`` = C where an image has none.
        grid: (H, W), N = H·W.
        streams: One stream of randomness an image.
        known: (B, N) int64 clean codes of an image to complete; needed with ``unknown``, and with ``begin`` under 1.
        unknown: (B, N) bool, the positions to draw; default all.
        watch: Called with a :class:`Frame` before the first step and after each.
        begin: Noise level in [0, 1] at which the decode begins. 1 is noise; at less the unknown positions begin with ``known``,
            corrupted so far by the process, and 0 gives ``known`` back without a network call.

    Returns:
        (B, N) int64 in 0..K-1; where ``unknown`` is False, ``known`` unchanged.

    Raises:
        ConfigError: the sampler does not fit the process, or too many steps.
    """
    rule = make_rule(config)
    need(0 <= begin <= 1, "begin", begin, "give a noise level in [0, 1]; 1 is noise")
    rule.check(process, grid[0] * grid[1], config.steps, begin)
    check_correctable(process, config.correct_steps)
    need(known is not None or (unknown is None and begin == 1), "known", None, "needed with unknown positions, and to begin before t = 1")
    every = torch.ones(len(labels), grid[0] * grid[1], dtype=torch.bool, device=labels.device)
    known = torch.zeros_like(every, dtype=torch.int64) if known is None else known
    state = _begun(rule, process, config, grid, streams, known, every if unknown is None else unknown, begin)
    caller = Caller(denoiser, process, config, labels, no_label, grid)
    for step in range(config.steps):
        _show(watch, state, step, config, caller)
        state.step = step
        _step(rule, state, caller, known)
    assert not bool(process.is_masked(state.x_t).any()), "a sampler ended with masks"
    _self_correct(state, caller, config, known, watch)
    _show(watch, state, config.steps + config.correct_steps, config, caller)
    return state.x_t


def _begun(
    rule: Rule, process: Process, config: SamplerConfig, grid: Grid, streams: ImageStreams, known: Tensor, unknown: Tensor, begin: float
) -> DecodeState:
    """The state before the first step; at t = 0 nothing is open."""
    controls = Controls(config.temperature, config.top_k, config.top_p)
    state = DecodeState(process, known, unknown & (begin > 0), streams, controls, steps=config.steps, begin=begin, grid=grid)
    state.x_t = torch.where(state.unknown, rule.start(state), known)
    state.unknown = rule.opened(state)
    return state


def _step(rule: Rule, state: DecodeState, caller: Caller, known: Tensor) -> None:
    """One step of the images that still need the network."""
    rule.schedule(state)
    images = rule.active(state).nonzero()[:, 0]
    if not len(images):
        return
    part = state if len(images) == len(state.x_t) else state.take(images)
    logits = caller(part, images, rule.level(part), rule.wanted(part), state.step / state.steps)
    part.x_t = torch.where(part.unknown, rule(part, logits), known[images])
    if part is not state:
        state.put(images, part)


def _self_correct(state: DecodeState, caller: Caller, config: SamplerConfig, known: Tensor, watch: Watch | None) -> None:
    """Extra steps on the finished grid, each image until nothing in it improves."""
    open_images = state.unknown.any(-1)
    for step in range(config.correct_steps):
        images = open_images.nonzero()[:, 0]
        if not len(images):
            return
        _show(watch, state, config.steps + step, config, caller)
        part = state.take(images)
        kappa = torch.full((len(images),), LEVEL, dtype=torch.float64, device=known.device)
        logits = caller(part, images, kappa, part.unknown, 1 - 1e-9)
        most = max(1, round(CORRECT_SHARE * known.shape[1]))
        part.x_t, changed = correct(part, logits, most)
        state.put(images, part)
        open_images = open_images.clone().index_copy(0, images, changed)


def _show(watch: Watch | None, state: DecodeState, step: int, config: SamplerConfig, caller: Caller) -> None:
    if watch is not None:
        watch(Frame(step, config.steps + config.correct_steps, state.x_t.clone(), state.masked.clone(), caller.calls))
