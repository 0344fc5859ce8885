"""The forward process: corrupting codes, its prior, and which token is the mask. (Austin et al. 2021, section
3.)

A jump s → t sends a code i to g_ts κ_ts e_i + g_ts (1-κ_ts) u + (1-g_ts) e_m with g_ts = g_t/g_s and
κ_ts = κ_t/κ_s, and leaves m at m. The family is closed under composition, so a k-step jump is the same
formula, without a K×K matrix or a table over T. Another kernel than the uniform one has a matrix M_ts in
place of κ_ts e_i + (1-κ_ts) u (:mod:`~d3pm_image.diffusion.kernel`). This is the only module that uses the
number of the mask token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config import ProcessConfig, check
from .kernel import Kernel
from .schedule import Schedule, make_schedule


@dataclass(frozen=True)
class Process:
    """Uniform + absorbing corruption of K codes.

    Args:
        num_codes: K.
        schedule: Survival curves g(t), κ(t).
        steps: T for discrete time t = 1/T … 1, or 0 for continuous time.
        parameterisation: What a network's logits mean: leave_one_out, a token from all others (its optimum is
            p(x_0_i | x_t without token i)), or posterior, from all (p(x_0_i | x_t)).
        kernel: What a random code depends on; None is nothing, the uniform kernel.
    """

    num_codes: int
    schedule: Schedule
    steps: int = 1000
    parameterisation: str = "leave_one_out"
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        check(self.num_codes >= 1, "num_codes", self.num_codes, "a process needs at least 1 code")
        check(self.steps >= 0, "process.steps", self.steps, "give 0 (continuous time) or a number of steps")
        hint = "use leave_one_out or posterior"
        check(
            self.parameterisation in ("leave_one_out", "posterior"),
            "process.parameterisation",
            self.parameterisation,
            hint,
        )
        hint = "a kernel other than uniform works with leave_one_out"
        plain = self.kernel is None or self.parameterisation == "leave_one_out"
        check(plain, "process.parameterisation", self.parameterisation, hint)

    @classmethod
    def from_config(
        cls, config: ProcessConfig, num_codes: int, vectors: Callable[[], Tensor] | None = None
    ) -> Process:
        """The process that a configuration describes, for K = num_codes.

        Args:
            vectors: Gives what codes stand for, (K, D), near each other for codes that look alike; None lays
                them on a line. The uniform kernel does not ask.

        Raises:
            ConfigError: impossible settings.
        """
        kernel = None
        if config.kernel != "uniform":
            places = vectors().cpu().numpy() if vectors else np.arange(num_codes)[:, None]
            kernel = Kernel.of(config.kernel, places, config.neighbours)
        schedule = make_schedule(config, num_codes)
        return cls(num_codes, schedule, config.steps, config.parameterisation, kernel)

    @property
    def mask_id(self) -> int:
        """Number of the mask token, K."""
        return self.num_codes

    def is_masked(self, x: Tensor) -> Tensor:
        """Which tokens are masks, bool of the shape of x."""
        return x == self.mask_id

    def masked_like(self, x: Tensor) -> Tensor:
        """A grid of masks of the shape of x."""
        return torch.full_like(x, self.mask_id)

    def jump(self, x_s: Tensor, s: Tensor, t: Tensor, draws: Tensor) -> Tensor:
        """Sample x_t from q(x_t | x_s).

        Args:
            x_s: (B, N) int64 in 0..K.
            s, t: (B,) times, s ≤ t; s = 0 corrupts clean codes.
            draws: (B, N, 3) uniforms in [0, 1): masked?, resampled?, which code. float64 where K is large.

        Returns:
            (B, N) int64 in 0..K.
        """
        g_s, kappa_s = self.schedule.survival(s)
        g_t, kappa_t = self.schedule.survival(t)
        stays_unmasked = torch.where(g_s > 0, g_t / g_s, torch.ones_like(g_s))[:, None]
        stays_itself = torch.where(kappa_s > 0, kappa_t / kappa_s, torch.ones_like(kappa_s))[:, None]
        if self.kernel is None:
            code = (draws[..., 2] * self.num_codes).long().clamp_max(self.num_codes - 1)
            moved = torch.where(draws[..., 1] < stays_itself, x_s, code)
        else:
            own = torch.where(self.is_masked(x_s), torch.zeros_like(x_s), x_s)
            moved = self.kernel.jump(own, kappa_s, kappa_t, draws[..., 2])
        moved = torch.where(draws[..., 0] < stays_unmasked, moved, self.masked_like(x_s))
        return torch.where(self.is_masked(x_s), x_s, moved)

    def corrupt(self, x_0: Tensor, t: Tensor, draws: Tensor) -> Tensor:
        """Sample x_t from q(x_t | x_0): (B, N) codes, (B,) times, (B, N, 3) uniforms → (B, N) int64 in
        0..K."""
        return self.jump(x_0, torch.zeros_like(t), t, draws)

    def prior(self, draws: Tensor) -> Tensor:
        """Sample x_1 from the prior (1-c_1) u + c_1 e_m. draws (B, N, 2) uniforms → (B, N) int64."""
        one = torch.ones(draws.shape[0], dtype=torch.float64, device=draws.device)
        g, _ = self.schedule.survival(one)
        code = (draws[..., 1] * self.num_codes).long().clamp_max(self.num_codes - 1)
        return torch.where(draws[..., 0] < g[:, None], code, self.masked_like(code))

    def prior_kl(self) -> Tensor:
        """L_T = KL(q(x_1 | x_0) ‖ prior), nats per token, float64 scalar. The masses on m agree, so only the
        scrambled part counts: L_T = g [(κ+ρ) log(κ+ρ) + (K-1) ρ log ρ + log K], ρ = (1-κ)/K; with a kernel
        that of the clean code of which most is left."""
        g, kappa = self.schedule.survival(torch.ones((), dtype=torch.float64))
        k = self.num_codes
        rho = (1 - kappa) / k
        inside = torch.xlogy(kappa + rho, kappa + rho) + (k - 1) * torch.xlogy(rho, rho) + math.log(k)
        if self.kernel is not None:
            moves = self.kernel.moves(torch.ones(1, dtype=torch.float64), kappa[None])[0]
            inside = torch.xlogy(moves, moves).sum(-1).amax() + math.log(k)
        return torch.where(g > 0, (g * inside).clamp_min(0), torch.zeros_like(g))

    def ends_in_noise(self) -> bool:
        """Whether nothing is left of the codes at t = 1, so that the prior can start a sampler (up to 1e-3 of
        the tokens)."""
        g, kappa = self.schedule.survival(torch.ones((), dtype=torch.float64))
        return float(g * kappa) < 1e-3
