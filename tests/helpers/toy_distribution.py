"""Three tokens of three codes, 27 images: a distribution small enough to enumerate, and its exact bound."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from d3pm_image.diffusion import ConstantShare, Process, bound_terms, low_discrepancy_times
from helpers import reference

K, N = 3, 3
CLEAN = torch.cartesian_prod(*[torch.arange(K)] * N)
NOISY = torch.cartesian_prod(*[torch.arange(K + 1)] * N)
DATA = torch.softmax(
    2 * torch.randn(len(CLEAN), generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0
)


def transitions(process: Process, s: float, t: float, start: Tensor) -> Tensor:
    """q(x_t | x_s) of whole images: rows ``start`` (n, N), columns NOISY."""
    return reference.transition(process, s, t)[start[:, None], NOISY[None]].prod(-1)


def evidence(process: Process, t: float, own: bool) -> Tensor:
    """Predictions (64, N, K) of each token: p(x_0 | x_t), or without what x_t shows of the token itself."""
    table = reference.transition(process, 0, t)[CLEAN[:, None], NOISY[None]]  # (27, 64, N)
    out = torch.zeros(len(NOISY), N, K, dtype=torch.float64)
    for i in range(N):
        seen = table if own else torch.cat([table[..., :i], table[..., i + 1 :]], -1)
        weight = DATA[:, None] * seen.prod(-1)
        for code in range(K):
            out[:, i, code] = weight[CLEAN[:, i] == code].sum(0)
    total = out.sum(-1, keepdim=True)
    return torch.where(total > 0, out / total.clamp_min(1e-300), 1 / K)


@dataclass(frozen=True)
class Denoiser:
    """The optimal prediction, spoiled: logits times ``sharp`` plus fixed noise."""

    process: Process
    noise: float = 0.0
    sharp: float = 1.0
    own: bool = False
    seed: int = 0

    def logits(self, t: float) -> Tensor:
        noise = torch.randn(
            len(NOISY), N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed)
        )
        return self.sharp * evidence(self.process, t, self.own).clamp_min(1e-300).log() + self.noise * noise


def expected_terms(process: Process, logits: Tensor, t: float) -> Tensor:
    """E over x_t of the bound's term at t, for each x_0: (27,) nats per image."""
    rows, columns = len(CLEAN), len(NOISY)
    x_0, x_t = CLEAN.repeat_interleave(columns, 0), NOISY.repeat(rows, 1)
    likelihood = transitions(process, 0, t, CLEAN)
    times = torch.full((len(x_0),), t, dtype=torch.float64)
    terms = bound_terms(process, logits.repeat(rows, 1, 1), x_0, x_t, times).bound.sum(-1).view(rows, columns)
    return torch.where(likelihood > 0, likelihood * terms, 0).sum(-1)


def discrete_bound(denoiser: Denoiser) -> Tensor:
    """The bound of each x_0, (27,), every x_t at every step enumerated."""
    process = denoiser.process
    steps = [step / process.steps for step in range(1, process.steps + 1)]
    return (
        N * process.prior_kl()
        + sum(expected_terms(process, denoiser.logits(t), t) for t in steps) / process.steps
    )


def mean(per_image: Tensor) -> float:
    return float(DATA @ per_image)


STEPS = 8
TRAINED_ON = ConstantShare("linear", 0.3)


class Table(Denoiser):
    """Logits (T, 64, N, K) learned by heart."""

    def learn(self, loss, updates: int = 300, batch: int = 2048) -> Table:
        generator = torch.Generator().manual_seed(0)
        table = torch.zeros(STEPS, len(NOISY), N, K, requires_grad=True)
        optimizer = torch.optim.Adam([table], 0.1, betas=(0.9, 0.99))
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
        for _ in range(updates):
            t = low_discrepancy_times(torch.rand((), generator=generator), batch, STEPS)
            x_0 = CLEAN[torch.multinomial(DATA, batch, True, generator=generator)]
            x_t = self.process.corrupt(
                x_0, t, torch.rand(batch, N, 3, dtype=torch.float64, generator=generator)
            )
            place = (x_t * torch.tensor([16, 4, 1])).sum(-1)
            logits = table[(t * STEPS).round().long() - 1, place]
            optimizer.zero_grad()
            loss(self.process, logits, x_0, x_t, t).backward()
            optimizer.step()
            decay.step()
        object.__setattr__(self, "table", table.detach().double())
        return self

    def logits(self, t: float) -> Tensor:
        return self.table[round(t * STEPS) - 1]
