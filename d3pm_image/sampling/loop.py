"""The only sampling loop: it calls the denoiser, applies a sampler's step, and puts known codes back.

It avoids network calls that are not needed: finished images are left out; if the process has no random codes,
an image whose tokens did not change keeps its logits; the head runs at the positions that the sampler reads;
both halves of guidance share a batch. If the network's device has no float64, all but the network call runs
on the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import SamplingConfig
from ..devices import asked_from_exact, casts_kept, exact_device
from ..diffusion import Process, leave_one_out_logits
from ..errors import check
from ..label_sets import LabelSets
from ..types import Denoiser, Grid
from .base import Sampler
from .correct import LEVEL, correct
from .draws import LogitsFilter
from .guidance import Guided, label_sets_of, rise_at, weight_at
from .levels import takes_token_levels, told_levels
from .request import Request
from .state import DecodeState, ImageStreams

MOST_WEIGHT = 1000.0
CORRECT_SHARE = 0.05  # of an image's unknown tokens that a correction step may change


@dataclass
class GuidedDenoiser:
    """The denoiser as the loop calls it: guidance, leave-one-out logits, positions left out (logits 0),
    logits kept where nothing changed."""

    denoiser: Denoiser
    process: Process
    config: SamplingConfig
    labels: Tensor
    no_label: int
    grid: Grid
    calls: int = 0
    kept: dict[str, Tensor] = field(default_factory=dict)
    token_levels: bool = False
    sets: LabelSets | None = None

    def __post_init__(self) -> None:
        given = self.config.negative_label
        hint = "names a class; a pipeline finds its number, give that"
        check(not isinstance(given, str), "negative_label", given, hint)
        negative = self.no_label if int(given) < 0 else int(given)
        hint = f"there are classes 0 to {self.no_label - 1}; -1 means none"
        check(negative <= self.no_label, "negative_label", negative, hint)
        self.guided = Guided(self.denoiser, self.no_label, negative, self.sets)
        self.own: list[float] | None = None  # weights of each set
        hint = "is for models with several sets of labels; use guidance"
        check(
            not self.config.set_guidance or self.sets is not None,
            "set_guidance",
            self.config.set_guidance,
            hint,
        )
        if self.sets is not None and self.config.set_guidance:
            text, usual = self.config.set_guidance, self.config.guidance
            self.own = self.sets.weights(text, "set_guidance", MOST_WEIGHT, usual)

    def __call__(
        self,
        state: DecodeState,
        images: Tensor,
        kappa: Tensor,
        clean: Tensor,
        wanted: Tensor,
        progress: float,
    ) -> Tensor:
        """Leave-one-out logits (b, N, K) of the images of ``state``, which have the indices ``images`` in the
        batch.

        Args:
            kappa: (b,) level of the tokens that are drawn. clean: (b, N) bool, tokens that are certain.
        """
        weight = weight_at(self.config, progress) if self.own is None else rise_at(self.config, progress)
        kappa = told_levels(state, kappa, clean, self.token_levels)
        if not self.process.schedule.absorbing:
            return self._predict(state.x_t, kappa, self.labels[images], wanted, weight)
        key = torch.cat([state.x_t, torch.full_like(state.x_t[:, :1], round(weight * 1e6))], 1)
        known = self.kept.get("key")
        fresh = (
            torch.ones(len(images), dtype=torch.bool, device=key.device)
            if known is None
            else (known[images] != key).any(1)
        )
        if bool(fresh.any()):
            rows = fresh.nonzero()[:, 0]
            logits = self._predict(
                state.x_t[rows], kappa[rows], self.labels[images[rows]], wanted[rows], weight
            )
            if known is None:
                count = len(self.labels)
                kept = key.new_full((count, key.shape[1]), -1)
                self.kept = {"key": kept, "logits": logits.new_empty(count, *logits.shape[1:])}
            self.kept["key"][images[rows]], self.kept["logits"][images[rows]] = key[rows], logits
        return self.kept["logits"][images]

    def _predict(self, x_t: Tensor, kappa: Tensor, labels: Tensor, wanted: Tensor, weight: float) -> Tensor:
        weights = [1 + (own - 1) * weight for own in self.own or ()]
        if any(own != 1 for own in weights):
            self.calls += len(x_t) * (len(weights) + 1)
            guided = self.guided.by_set(x_t, kappa, labels, self.grid, weights, wanted)
        else:
            weight = weight if self.own is None else 1.0
            self.calls += len(x_t) * (1 if weight == 1 else 2)
            guided = self.guided(x_t, kappa, labels, self.grid, weight, wanted)
        logits = leave_one_out_logits(self.process, guided, x_t, kappa)
        # a network may leave NaN at other positions: a sampler must not read them
        return logits if bool(wanted.all()) else torch.where(wanted[..., None], logits, logits.new_zeros(()))


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    process: Process,
    request: Request,
    labels: Tensor,
    no_label: int,
    grid: Grid,
    streams: ImageStreams,
    known: Tensor | None = None,
    unknown: Tensor | None = None,
    begin: float = 1.0,
) -> Tensor:
    """Draw codes.

    Args:
        denoiser: Network, in eval mode.
        process: The process that it was trained with.
        request: Sampler, shared settings and callback; its seeds and batch size are for the caller.
        labels: (B,) int64 in 0..C, on the network's device; ``no_label`` = C where an image has none.
        grid: (H, W), N = H·W.
        streams: One stream of randomness per image.
        known: (B, N) int64 clean codes of an image to complete; needed with ``unknown``, and with ``begin``
            under 1.
        unknown: (B, N) bool, the positions to draw; default all.
        begin: Noise level in [0, 1] at which the decode begins. 1 is noise; below 1 the unknown positions
            begin with ``known``, corrupted to this level by the process, and 0 returns ``known`` without a
            network call.

    Returns:
        (B, N) int64 in 0..K-1, where the labels are; where ``unknown`` is False, ``known`` unchanged.

    Raises:
        ConfigError: the sampler does not fit the process, or too many steps.
    """
    request.check_fit(process, grid, begin)
    hint = "needed with unknown positions, and to begin before t = 1"
    check(known is not None or (unknown is None and begin == 1), "known", None, hint)
    device, here = labels.device, exact_device(labels.device)
    every = torch.ones(len(labels), grid[0] * grid[1], dtype=torch.bool, device=here)
    known = torch.zeros_like(every, dtype=torch.int64) if known is None else known.to(here)
    config, sampler = request.sampling, request.sampler
    unknown = every if unknown is None else unknown.to(here)
    state = _begun(sampler, process, config, grid, streams, known, unknown, begin)
    network = asked_from_exact(denoiser, device)
    caller = GuidedDenoiser(
        network,
        process,
        config,
        labels.to(here),
        no_label,
        grid,
        token_levels=takes_token_levels(denoiser),
        sets=label_sets_of(denoiser),
    )
    with casts_kept(device):
        for step in range(config.steps):
            request.report(state, step, caller.calls)
            state.step = step
            _step(sampler, state, caller, known)
        assert not bool(process.is_masked(state.x_t).any()), "a sampler ended with masks"
        _self_correct(state, caller, request, known)
    request.report(state, config.steps + config.correct_steps, caller.calls)
    return state.x_t.to(device)


def _begun(
    sampler: Sampler,
    process: Process,
    config: SamplingConfig,
    grid: Grid,
    streams: ImageStreams,
    known: Tensor,
    unknown: Tensor,
    begin: float,
) -> DecodeState:
    """The state before the first step; at t = 0 nothing is open."""
    logits_filter = LogitsFilter(config.temperature, config.top_k, config.top_p)
    state = DecodeState(
        process,
        known,
        unknown & (begin > 0),
        streams,
        logits_filter,
        steps=config.steps,
        begin=begin,
        grid=grid,
    )
    state.x_t = torch.where(state.unknown, sampler.start(state), known)
    state.unknown = sampler.opened(state)
    return state


def _step(sampler: Sampler, state: DecodeState, caller: GuidedDenoiser, known: Tensor) -> None:
    """One step of the images that still need the network."""
    sampler.schedule(state)
    images = sampler.active(state).nonzero()[:, 0]
    if not len(images):
        return
    part = state if len(images) == len(state.x_t) else state.take(images)
    progress = state.step / state.steps
    logits = caller(part, images, sampler.level(part), sampler.clean(part), sampler.wanted(part), progress)
    part.x_t = torch.where(part.unknown, sampler.step(part, logits), known[images])
    if part is not state:
        state.put(images, part)


def _self_correct(state: DecodeState, caller: GuidedDenoiser, request: Request, known: Tensor) -> None:
    """Extra steps on the finished grid, each image until nothing in it improves."""
    open_images = state.unknown.any(-1)
    for step in range(request.sampling.correct_steps):
        images = open_images.nonzero()[:, 0]
        if not len(images):
            return
        request.report(state, request.sampling.steps + step, caller.calls)
        part = state.take(images)
        kappa = torch.full((len(images),), LEVEL, dtype=torch.float64, device=known.device)
        logits = caller(part, images, kappa, ~part.unknown, part.unknown, 1 - 1e-9)
        most = max(1, round(CORRECT_SHARE * known.shape[1]))
        part.x_t, changed = correct(part, logits, most)
        state.put(images, part)
        open_images = open_images.clone().index_copy(0, images, changed)


def draw_codes(
    denoiser: Denoiser, process: Process, request: Request, labels: Tensor, no_label: int, grid: Grid
) -> Tensor:
    """Codes (B, N) of new images, batch by batch; arguments as in :func:`sample`.

    Args:
        labels: (B,) int64, the class of each image.
    """
    pieces = []
    for part in request.batches(len(labels)):
        label, streams = labels[part.start : part.stop], request.streams(part, labels.device)
        pieces.append(sample(denoiser, process, request, label, no_label, grid, streams))
    return torch.cat(pieces)
