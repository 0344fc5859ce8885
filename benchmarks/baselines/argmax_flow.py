"""Argmax flow (Hoogeboom, Nielsen, Jaini, Forré and Welling 2021): a continuous flow under an argmax.

A code is written as M = ⌈log2 K⌉ binary digits (the paper's Cartesian product), so that v has M numbers per
token and not K, and the argmax of two is a sign: digit m is 1 where v_m > 0. With q(v | x) on the quadrant of
x

    log P(x) ≥ E_q [ log p(v) - log q(v | x) ]

q: u ~ N(μ(x), σ(x)), v = ± softplus(u) (the paper's threshold). p: couplings, each one transformer block that
reads the first half of every token's numbers and gives a spline and an affine map of the second half; a
learnt matrix mixes the numbers of a token in between. One block for q and the others for p are the denoiser's
number of blocks. Sampling is one pass. There is no guidance: nothing to mix."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3pm_image.denoiser.layers import Block, Places, rotary_table
from d3pm_image.training.random import StepRandom

from .problem import Problem, drawing_precision
from .spline import spline, unspline

PIECES = 8
LOG_2_PI = math.log(2 * math.pi)


class FlowNetwork(nn.Module):
    """Blocks of the denoiser's size, and the layers that lead in and out of them."""

    def __init__(self, problem: Problem):
        super().__init__()
        config, self.grid = problem.denoiser, problem.grid
        width, self.heads = config.width, config.heads
        self.digits = max(2, math.ceil(math.log2(problem.num_codes)))
        self.half = self.digits // 2
        moved, couplings = self.digits - self.half, max(1, config.depth - 1)
        self.embed = nn.Embedding(problem.num_codes, width)
        self.classes = nn.Embedding(problem.num_classes + 1, width)
        self.places = Places(width)
        hidden = -(-int(width * config.mlp_ratio) // 8) * 8
        blocks = [Block(width, config.heads, hidden, config.dropout) for _ in range(1 + couplings)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.noise = nn.Linear(width, 2 * self.digits)  # μ and log σ of q
        self.enter = nn.ModuleList(nn.Linear(self.half, width) for _ in range(couplings))
        self.leave = nn.ModuleList(nn.Linear(width, moved * (3 * PIECES + 1)) for _ in range(couplings))
        turned = [torch.linalg.qr(torch.randn(self.digits, self.digits))[0] for _ in range(couplings)]
        self.mix = nn.ParameterList(nn.Parameter(matrix) for matrix in turned)
        for linear in (self.noise, *self.leave):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def run(self, number: int, x: Tensor, labels: Tensor) -> Tensor:
        cos, sin = rotary_table(self.grid, x.shape[-1] // self.heads, x.device)
        condition = F.silu(self.classes(labels))
        return self.norm(self.blocks[number](x + self.places(self.grid), condition, cos, sin))

    def encode(self, codes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ (B, N, M) of u."""
        mean, log_deviation = self.noise(self.run(0, self.embed(codes), labels)).float().chunk(2, -1)
        return mean, log_deviation.clamp(-5, 3)

    def maps(self, number: int, seen: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Spline parameters (B, N, m, 3P - 1), log scales and shifts (B, N, m) of the other half, from
        ``seen`` (B, N, M - m)."""
        out = self.leave[number](self.run(1 + number, self.enter[number](seen), labels)).float()
        bend, log_scale, shift = out.unflatten(-1, (-1, 3 * PIECES + 1)).split([3 * PIECES - 1, 1, 1], -1)
        return bend, 2 * torch.tanh(log_scale[..., 0] / 2), shift[..., 0]


class ArgmaxFlow:
    """Its loss is the bound above, in nats per code."""

    def __init__(self, problem: Problem):
        self.problem, self.model = problem, FlowNetwork(problem)

    def digits(self, codes: Tensor) -> Tensor:
        """(B, N, M) bool of codes (B, N), lowest first."""
        return (codes[..., None] >> torch.arange(self.model.digits, device=codes.device)) & 1 == 1

    def codes(self, v: Tensor) -> Tensor:
        """argmax: (B, N) of v (B, N, M). Where K is no power of two, digits beyond K are taken for the last
        code."""
        values = (v > 0).long() << torch.arange(self.model.digits, device=v.device)
        return values.sum(-1).clamp_max(self.problem.num_codes - 1)

    def dequantise(self, codes: Tensor, labels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """v (B, N, M) in the quadrant of the codes, and log q(v | x) (B, N, M), from standard normal noise
        (B, N, M)."""
        mean, log_deviation = self.model.encode(codes, labels)
        u = mean + log_deviation.exp() * noise
        log_q = -(noise.square() + LOG_2_PI) / 2 - log_deviation - F.logsigmoid(u)  # dv/du = sigmoid(u)
        return torch.where(self.digits(codes), F.softplus(u), -F.softplus(u)), log_q

    def density(self, v: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """z (B, N, M) and log p(v) (B,)."""
        model, log_p = self.model, torch.zeros(len(v), device=v.device)
        for number, matrix in enumerate(model.mix):
            v = (v[..., None, :] * matrix).sum(-1)  # not a matrix product: those run in bf16
            seen, moved = v[..., : model.half], v[..., model.half :]
            bend, log_scale, shift = model.maps(number, seen, labels)
            moved, log_slope = spline(moved, bend)
            v = torch.cat([seen, moved * log_scale.exp() + shift], -1)
            log_p = log_p + (log_slope + log_scale).sum((1, 2)) + v.shape[1] * torch.linalg.slogdet(matrix)[1]
        return v, log_p - (v.square() + LOG_2_PI).sum((1, 2)) / 2

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        draws = random.uniform(codes.shape[1], self.model.digits).clamp(1e-9, 1 - 1e-9)
        v, log_q = self.dequantise(codes, labels, torch.special.ndtri(draws).float())
        return (log_q.sum((1, 2)) - self.density(v, labels)[1]).mean() / codes.shape[1]

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        assert calls == 1 and guidance == 1, "a flow samples in one pass, without guidance"
        generator = torch.Generator(labels.device).manual_seed(seed)
        shape = (len(labels), self.problem.tokens, self.model.digits)
        with drawing_precision(labels.device):
            z = torch.randn(shape, generator=generator, device=labels.device)
            return self.codes(self.invert(z, labels))

    def invert(self, z: Tensor, labels: Tensor) -> Tensor:
        """v (B, N, M) of z: the inverse of :meth:`density`."""
        model, v = self.model, z
        for number in reversed(range(len(model.mix))):
            seen, moved = v[..., : model.half], v[..., model.half :]
            bend, log_scale, shift = model.maps(number, seen, labels)
            v = torch.cat([seen, unspline((moved - shift) * (-log_scale).exp(), bend)], -1)
            v = (v[..., None, :] * torch.linalg.inv(model.mix[number])).sum(-1)
        return v
