"""Textbook D3PM (Austin, Johnson, Ho, Tarlow and van den Berg 2021, section 3 and appendix A): a matrix Q_t
for every step, built and multiplied out, x_0 by matrix products in the posterior.

    q(x_{t-1} | x_t, x_0) ∝ x_t Q_tᵀ ⊙ x_0 Q̄_{t-1} ,   p(x_{t-1} | x_t) ∝ x_t Q_tᵀ ⊙ x̂_0 Q̄_{t-1}
    loss = KL + λ CE(x̂_0)

T is 100, so that 2 T matrices of K = 512 take 210 MB (T = 1000: 2.1 GB). Uniform: β_t from the cosine of
Nichol and Dhariwal, as in the paper's image models and in the short PyTorch programs after it. Absorbing: β_t
= 1/(T-t+1) and a state K + 1 for the mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.training.random import StepRandom

from .problem import Predictor, Problem, categorical

LAMBDA = 0.001  # beside the KL of one step, as in the paper's code


def matrices(kind: str, num_codes: int, steps: int) -> Tensor:
    """Q_1 … Q_T, float64 (T, S, S) with rows that sum to one; S is K (uniform) or K + 1 (absorbing)."""
    if kind == "uniform":
        # exactly 0 at the end, where Nichol and Dhariwal stop at β = 0.999: x_T is noise for the sampler
        kept = [max(0.0, math.cos((t / steps + 0.008) / 1.008 * math.pi / 2)) for t in range(steps + 1)]
        pairs = zip(kept, [*kept[1:-1], 0.0], strict=False)
        beta = torch.tensor([1 - after / before for before, after in pairs], dtype=torch.float64)
        target = torch.full((num_codes, num_codes), 1 / num_codes, dtype=torch.float64)
    else:
        beta = 1 / torch.arange(steps, 0, -1, dtype=torch.float64)
        target = F.one_hot(torch.full((num_codes + 1,), num_codes), num_codes + 1).double()
    beta, identity = beta[:, None, None], torch.eye(len(target), dtype=torch.float64)
    return (1 - beta) * identity + beta * target


def products(q: Tensor) -> Tensor:
    """Q̄_0 = I, Q̄_1 = Q_1, … Q̄_T = Q_1 ··· Q_T: (T + 1, S, S)."""
    found = q.new_empty(len(q) + 1, *q.shape[1:])
    found[0] = torch.eye(q.shape[-1], dtype=q.dtype)
    for t, one in enumerate(q):
        torch.mm(found[t], one, out=found[t + 1])
    return found


class DenseD3PM:
    """Args:
    kind: uniform or absorbing.
    steps: T.
    """

    def __init__(self, problem: Problem, kind: str = "uniform", steps: int = 100):
        self.problem, self.model, self.kind, self.steps = problem, problem.transformer(), kind, steps
        exact = matrices(kind, problem.num_codes, steps)
        self.bar, self.one_step = products(exact).float(), exact.float()
        self.states = self.bar.shape[-1]

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        """T (KL + λ CE): the same as the paper's up to a constant, and the first part in nats per code like
        the other bounds."""
        t = 1 + (random.uniform() * self.steps).long()
        x_t = self.corrupt(codes, t, random.uniform(codes.shape[1]))
        logits = self.model(x_t, self.level(t), labels, self.problem.grid).float()
        with torch.autocast(codes.device.type, enabled=False):
            x_hat = self.padded(torch.softmax(logits, -1))
            q = self.posterior(F.one_hot(codes, self.states).float(), x_t, t - 1, t)
            p = self.posterior(x_hat, x_t, t - 1, t)
            kl = (torch.xlogy(q, q) - q * p.clamp_min(1e-20).log()).sum(-1)
            surprise = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
            first = (t == 1)[:, None]  # there p is x̂_0 itself, as in the paper's code
            return self.steps * (torch.where(first, surprise, kl) + LAMBDA * surprise).mean()

    def corrupt(self, codes: Tensor, t: Tensor, draws: Tensor) -> Tensor:
        """x_t (B, N) of codes (B, N) at steps t (B,) from uniforms (B, N): rows of Q̄_t, drawn from."""
        rows = self.on(codes.device, self.bar)[t[:, None], codes]
        below = rows.cumsum(-1) < draws[..., None].float() * rows.sum(-1, keepdim=True)
        return below.sum(-1).clamp_max(self.states - 1)

    def posterior(self, x_0: Tensor, x_t: Tensor, s: Tensor, t: Tensor, jump: Tensor | None = None) -> Tensor:
        """p(x_s | x_t) (B, N, S) of distributions x_0 (B, N, S), by two dense products; ``jump`` is Q_{s→t}
        where it is not one step."""
        if jump is None:
            backward = self.on(x_t.device, self.one_step)[t - 1].transpose(1, 2)  # (B, S, S), one per image
            evidence = backward.gather(1, x_t[..., None].expand(-1, -1, self.states))
        else:
            evidence = jump.T[x_t]
        joint = evidence * torch.bmm(x_0, self.on(x_t.device, self.bar)[s])
        return joint / joint.sum(-1, keepdim=True).clamp_min(1e-20)

    def level(self, t: Tensor) -> Tensor:
        """t as the network is told it, in [0, 1) and 1 for clean codes."""
        return 1 - t.float() / self.steps

    def padded(self, x_hat: Tensor) -> Tensor:
        """The mask is never a clean code."""
        return F.pad(x_hat, (0, self.states - self.problem.num_codes))

    def on(self, device: torch.device, matrices: Tensor) -> Tensor:
        return matrices if matrices.device == device else matrices.to(device)

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        """Ancestral steps, ``calls`` of at most T: a step that is longer than one multiplies its matrices."""
        generator = torch.Generator(labels.device).manual_seed(seed)
        predict, calls = Predictor(self.model, self.problem.grid), min(calls, self.steps)
        shape = (len(labels), self.problem.tokens)
        end = self.bar[-1][0].expand(*shape, -1).to(labels.device)
        x = categorical(end.log(), generator)
        times = [round(self.steps * (1 - step / calls)) for step in range(calls + 1)]
        for before, after in zip(times, times[1:], strict=False):
            t, s = torch.full_like(labels, before), torch.full_like(labels, after)
            logits = predict.guided(x, self.level(t), labels, guidance)
            if before == 1:  # see loss
                p = self.padded(torch.softmax(logits, -1))
            else:
                jump = products(self.one_step[after:before])[-1].to(x.device)
                p = self.posterior(self.padded(torch.softmax(logits, -1)), x, s, t, jump)
            x = categorical(p.clamp_min(1e-30).log(), generator)
        return x
