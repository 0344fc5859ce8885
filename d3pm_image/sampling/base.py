"""The base of all samplers: a frozen dataclass that holds its settings, with their defaults and ranges, and
makes the steps of a decode.

    @register("renoise")
    @dataclass(frozen=True, kw_only=True)
    class Renoise(Sampler):
        '''Denoise further than asked, then corrupt forward again (Ψ-samplers).

        Args:
            eta: Steps that each step overshoots.
        '''

        eta: float = setting(1.0, low=0)

        def step(self, state, logits): ...

Registration is enough: the command line, YAML files, model folders, ``tune``, the web page, the
documentation's table and the property tests read :data:`SAMPLERS`. Nothing here imports torch before a
sampler runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import check
from ..lazy import torch
from ..registry import Choice, Registry, setting
from .times import uniform_times

__all__ = ["SAMPLERS", "MaskSampler", "Sampler", "register", "setting"]

if TYPE_CHECKING:
    from torch import Tensor

    from ..diffusion import Process
    from .state import DecodeState

SAMPLERS: Registry[Sampler] = Registry("sampler", "sampler")
"""Every sampler by the name that users choose it by."""
register = SAMPLERS.register


@dataclass(frozen=True, kw_only=True)
class Sampler(Choice):
    """Noise to codes: where a decode starts, which noise level the denoiser gets, which images still need the
    network, and the step.

    The defaults are those of samplers that follow the process through time, evenly from the beginning of the
    decode to t = 0.
    """

    def check(self, process: Process, tokens: int, steps: int, begin: float = 1.0) -> None:
        """Raises ConfigError if the process does not end in noise, or has fewer steps than requested."""
        self.check_noise(process, begin)
        fits = process.steps == 0 or steps <= process.steps
        hint = f"the process was trained with {process.steps} steps; use at most that many"
        check(fits, "steps", steps, hint)

    def check_noise(self, process: Process, begin: float) -> None:
        """Raises ConfigError if the decode begins at t = 1 and the process keeps codes there."""
        kept = "this process keeps codes at t = 1 (process.end < 1); use confidence"
        check(begin < 1 or process.ends_in_noise(), "sampler", self.name, kept)

    def check_masks(self, process: Process, instead: str) -> None:
        """Raises ConfigError for a process without masks; ``instead`` names a sampler for it."""
        text = f"this model was trained without masks (uniform_share 1); use {instead}"
        check(not process.schedule.uniform, "sampler", self.name, text)

    def start(self, state: DecodeState) -> Tensor:
        """The first state of the decode, (B, N): prior noise at t = 1, before that x_t ~ q(x_t | x_0) of the
        known codes x_0."""
        if state.begin == 1:
            return state.process.prior(state.streams.uniform(state.x_t.shape[1], 2))
        return state.process.corrupt(state.x_t, state.times(state.begin), torch.stack(state.uniforms(3), -1))

    def opened(self, state: DecodeState) -> Tensor:
        """Positions that the decode may change once it has begun, (B, N) bool."""
        return state.unknown

    def schedule(self, state: DecodeState) -> None:
        """Set the times of this step, for all images."""
        times = uniform_times(state.steps, state.begin)
        state.t, state.s = state.times(times[state.step]), state.times(times[state.step + 1])

    def level(self, state: DecodeState) -> Tensor:
        """κ that the denoiser gets, (B,)."""
        return state.process.schedule.survival(state.t)[1]

    def clean(self, state: DecodeState) -> Tensor:
        """Tokens that certainly hold clean codes now, (B, N) bool: those that the decode does not draw."""
        return ~state.unknown

    def active(self, state: DecodeState) -> Tensor:
        """Images that still need the network, (B,) bool: those with masks; with random codes, those with
        unknown tokens."""
        return (state.masked if state.process.schedule.absorbing else state.unknown).any(-1)

    def wanted(self, state: DecodeState) -> Tensor:
        """Positions whose logits the step reads, (B, N) bool."""
        return state.masked if state.process.schedule.absorbing else state.unknown

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        """x_s (B, N) from leave-one-out logits (B, N, K); known positions are put back by the loop."""
        raise NotImplementedError


class MaskSampler(Sampler):
    """Samplers that start from masks and reveal them in an order of their own, independent of the process's
    time.

    They never change a revealed code. So if a decode begins before t = 1, every token that the corruption
    changes becomes a mask, including the random codes of a hybrid. These masks are the unknown tokens, and N₀
    is their number.
    """

    def check(self, process: Process, tokens: int, steps: int, begin: float = 1.0) -> None:
        """Raises ConfigError for a process without masks, or more steps than there are tokens to reveal."""
        self.check_masks(process, "ancestral")
        hint = f"each step reveals at least one of the {tokens} codes; use at most {tokens}"
        check(steps <= max(tokens, 1), "steps", steps, hint)

    def start(self, state: DecodeState) -> Tensor:
        masks = state.process.masked_like(state.x_t)
        return masks if state.begin == 1 else torch.where(super().start(state) == state.x_t, state.x_t, masks)

    def opened(self, state: DecodeState) -> Tensor:
        return state.unknown & state.masked

    def level(self, state: DecodeState) -> Tensor:
        """κ at which the process masks the present share of masks, per image, (B,)."""
        schedule = state.process.schedule
        return schedule.survival(schedule.time_of_mask_share(state.masked.double().mean(-1)))[1]

    def clean(self, state: DecodeState) -> Tensor:
        """All that is unmasked: revealed codes are clean ones, which no noise reaches again."""
        return ~state.masked

    def active(self, state: DecodeState) -> Tensor:
        return state.masked.any(-1)

    def wanted(self, state: DecodeState) -> Tensor:
        return state.masked
