"""An autoregressive transformer of the same size: p(x) = Π p(x_n | x_1 … x_{n-1}, class), row by row (as
VQ-GAN's second stage).

The library's transformer with one change: a token attends to itself and to earlier ones. Its input is the
code before it (the mask's embedding begins). Sampling takes N passes and keeps keys and values of earlier
tokens, so that a pass computes one token per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.layers import Attention, drop, modulate, rotary_table, rotate
from d3pm_image.training.random import StepRandom

from .problem import Problem, categorical, drawing_precision


class CausalAttention(Attention):
    """Attention to this token and earlier ones. ``kept`` holds their keys and values during a decode; None in
    training."""

    kept: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, keys: Tensor | None = None) -> Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(v.dtype), sin.to(v.dtype)
        q, k = rotate(self.query_norm(q), cos, sin), rotate(self.key_norm(k), cos, sin)
        if self.kept is not None:
            k, v = torch.cat([self.kept[0], k], 2), torch.cat([self.kept[1], v], 2)
            self.kept = k, v
        later = torch.ones(n, k.shape[2], dtype=torch.bool, device=x.device).triu(k.shape[2] - n + 1)
        # plain products, as the library's attention in training on a processor
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        shares = torch.softmax(scores.masked_fill(later, -torch.inf), -1)
        return drop(self, self.out((shares @ v).transpose(1, 2).reshape(b, n, d)), keys)


class CausalTransformer(Transformer):
    """The library's transformer, read from left to right."""

    def __init__(self, problem: Problem):
        super().__init__(problem.denoiser, problem.num_codes, problem.num_classes)
        self.grid = problem.grid
        for block in self.blocks:
            block.attention = CausalAttention(self.config.width, self.config.heads, self.config.dropout)
        self._initialise()

    def decode(self, before: Tensor, labels: Tensor, first: int = 0) -> Tensor:
        """Logits (B, n, K) of the codes first … first + n - 1; ``before`` (B, n) holds the code before each,
        K before the first of all."""
        cos, sin = (part[first : first + before.shape[1]] for part in self.rotary(before.device))
        condition = F.silu(self.level(torch.ones_like(labels)) + self.classes(labels))
        x = self.tokens(before)
        if self.places is not None:
            x = x + self.places(self.grid)[first : first + before.shape[1]]
        for block in self.blocks:
            x = block(x, condition, cos, sin)
        shift, scale = self.modulation(condition)[:, None].chunk(2, -1)
        return self.head(modulate(self.norm(x), shift, scale))

    def rotary(self, device: torch.device) -> tuple[Tensor, Tensor]:
        return rotary_table(self.grid, self.config.width // self.config.heads, device)

    def keep(self, batch: int, like: Tensor) -> None:
        """Begin to keep keys and values of a batch of that many rows; 0 ends it."""
        heads, each = self.config.heads, self.config.width // self.config.heads
        for block in self.blocks:
            empty = like.new_zeros(batch, heads, 0, each, dtype=torch.bfloat16)
            block.attention.kept = (empty, empty) if batch else None


class Autoregressive:
    """Exact likelihood: its loss is the mean of -log p(x), in nats per code."""

    def __init__(self, problem: Problem):
        self.problem, self.model = problem, CausalTransformer(problem)

    def logits(self, codes: Tensor, labels: Tensor) -> Tensor:
        """(B, N, K) float32 of codes (B, N), of which each place sees the earlier ones."""
        return self.model.decode(F.pad(codes[:, :-1], (1, 0), value=self.problem.num_codes), labels).float()

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        return F.cross_entropy(self.logits(codes, labels).transpose(1, 2), codes)

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        """``calls`` is N: one pass per code."""
        assert calls == self.problem.tokens, f"takes {self.problem.tokens} calls, not {calls}"
        generator = torch.Generator(labels.device).manual_seed(seed)
        twice = guidance != 1
        both = torch.cat([labels, torch.full_like(labels, self.problem.num_classes)]) if twice else labels
        self.model.keep(len(both), self.model.head.weight)
        try:
            found = [torch.full_like(labels, self.problem.num_codes)]
            for place in range(calls):
                before = torch.cat([found[-1]] * 2) if twice else found[-1]
                with drawing_precision(labels.device):
                    logits = self.model.decode(before[:, None], both, place)[:, 0].float()
                if twice:
                    with_label, without = logits.chunk(2)
                    logits = without + guidance * (with_label - without)
                found.append(categorical(logits, generator))
        finally:
            self.model.keep(0, self.model.head.weight)
        return torch.stack(found[1:], 1)
