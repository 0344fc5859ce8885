"""What every step rule is, and what most of them share."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import need
from ..diffusion import Process
from .state import DecodeState
from .times import uniform_times


class Rule:
    """A sampler: where it starts, which noise level it tells the denoiser, which images still need the network, its step.

    The defaults are those of rules that follow the process through time, evenly from t = 1 to 0.
    """

    name = "rule"

    def check(self, process: Process, tokens: int, steps: int) -> None:
        """Raises ConfigError where the process does not end in noise, or has fewer steps than are asked for."""
        need(process.ends_in_noise(), "sampler", self.name, "this process keeps codes at t = 1 (process.end < 1); use confidence")
        need(
            process.steps == 0 or steps <= process.steps,
            "steps",
            steps,
            f"the process was trained with {process.steps} steps; use at most that many",
        )

    def start(self, state: DecodeState) -> Tensor:
        """Prior noise, (B, N)."""
        return state.process.prior(state.streams.uniform(state.x_t.shape[1], 2))

    def schedule(self, state: DecodeState) -> None:
        """Set the times of this step, for all images."""
        times = uniform_times(state.steps)
        device, rows = state.x_t.device, len(state.x_t)
        state.t = torch.full((rows,), times[state.step], dtype=torch.float64, device=device)
        state.s = torch.full((rows,), times[state.step + 1], dtype=torch.float64, device=device)

    def level(self, state: DecodeState) -> Tensor:
        """κ that the denoiser is told, (B,)."""
        return state.process.schedule.survival(state.t)[1]

    def active(self, state: DecodeState) -> Tensor:
        """Images that still need the network, (B,) bool: those with masks; with random codes about, those with unknown tokens."""
        return (state.masked if state.process.schedule.absorbing else state.unknown).any(-1)

    def wanted(self, state: DecodeState) -> Tensor:
        """Positions whose logits the step reads, (B, N) bool."""
        return state.masked if state.process.schedule.absorbing else state.unknown

    def __call__(self, state: DecodeState, logits: Tensor) -> Tensor:
        """x_s (B, N) from leave-one-out logits (B, N, K); known positions are put back by the loop."""
        raise NotImplementedError


class MaskRule(Rule):
    """Rules that start from masks everywhere and reveal them in an order of their own, whatever the process's clock says."""

    def check(self, process: Process, tokens: int, steps: int) -> None:
        """Raises ConfigError for a process without masks, or more steps than there are tokens to reveal."""
        need(
            not process.schedule.uniform, "sampler", self.name, "this model was trained without masks (uniform_share 1); use ancestral"
        )  # fmt: skip
        need(steps <= max(tokens, 1), "steps", steps, f"each step reveals at least one of the {tokens} codes; use at most {tokens}")

    def start(self, state: DecodeState) -> Tensor:
        return state.process.masked_like(state.x_t)

    def level(self, state: DecodeState) -> Tensor:
        """κ at which the process masks the share that is masked now, an image each, (B,)."""
        schedule = state.process.schedule
        return schedule.survival(schedule.time_of_mask_share(state.masked.double().mean(-1)))[1]

    def active(self, state: DecodeState) -> Tensor:
        return state.masked.any(-1)

    def wanted(self, state: DecodeState) -> Tensor:
        return state.masked
