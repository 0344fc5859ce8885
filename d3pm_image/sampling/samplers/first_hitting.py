"""First hitting: jump straight to the next time at which a mask disappears (Zheng et al. 2025, masked
diffusion models are secretly time-agnostic masked models).

With n masks left the masked mass c = 1 - g falls to c U^{1/n} at the next reveal, of a mask chosen at random.
A step draws, for each image, as many of those times as it must reveal to finish in S steps. With one reveal
per step and no random codes it is exact. Random codes of a hybrid change by the κ-posterior over the same
interval of time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lazy import torch
from ..base import Sampler, register
from ..draws import draw
from ..mask_schedule import keep_best
from ..reverse_kernel import code_moves, fresh_codes

if TYPE_CHECKING:
    from torch import Tensor

    from ...diffusion import Process
    from ...diffusion.schedule import Schedule
    from ..state import DecodeState


@register("first_hitting")
@dataclass(frozen=True, kw_only=True)
class FirstHitting(Sampler):
    """Every step reveals an equal number of masks, at the times at which the process would."""

    def check(self, process: Process, tokens: int, steps: int, begin: float = 1.0) -> None:
        """Raises ConfigError for a process without masks, or that does not end in noise."""
        self.check_masks(process, "ancestral")
        self.check_noise(process, begin)

    def schedule(self, state: DecodeState) -> None:
        """t is where the last step ended; s comes from the draws of the step itself."""
        state.t = state.memory.get("time", state.times(state.begin))
        state.s = torch.zeros_like(state.t)

    def step(self, state: DecodeState, logits: Tensor) -> Tensor:
        u_predict, u_code, u_move, u_scramble, u_order = state.uniforms(5)
        schedule, masked = state.process.schedule, state.masked.sum(-1)
        left = masked - -(-masked // (state.steps - state.step))
        s = torch.zeros_like(state.t) if state.last else self.next_time(state, schedule, masked, left)
        p = state.probabilities(logits)
        predicted = draw(p, u_predict)
        fresh = fresh_codes(state.process, predicted, u_code, u_scramble, s)
        moved = code_moves(state, p, predicted, u_code, u_move, state.t, s)
        state.memory["time"] = s
        return keep_best(state, fresh, u_order, left).where(state.masked, moved)

    @staticmethod
    def next_time(state: DecodeState, schedule: Schedule, masked: Tensor, left: Tensor) -> Tensor:
        """The time at which ``left`` of ``masked`` masks remain: c · Π U_n^{1/n} over the reveals; without
        masks to reveal, that of the evenly spaced grid."""
        log_share = torch.log(1 - schedule.survival(state.t)[0]).nan_to_num(neginf=-700.0)
        u = state.streams.uniform(state.x_t.shape[1]).clamp_min(1e-300)
        n = torch.arange(1, state.x_t.shape[1] + 1, device=u.device)
        hit = (n > left[:, None]) & (n <= masked[:, None])
        log_share = log_share + torch.where(hit, u.log() / n, torch.zeros_like(u)).sum(-1)
        even = state.times(state.begin * (1 - state.progress))
        return torch.where(masked > left, schedule.time_of_mask_share(log_share.exp()), even).minimum(state.t)
