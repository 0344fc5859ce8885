"""MaskGIT as published (Chang, Zhang, Jiang, Liu and Freeman 2022, section 3 and its released code).

Training: r ~ U(0, 1), exactly ⌈N cos(πr/2)⌉ codes of an image are masked, cross-entropy at the masks with
label smoothing 0.1, mean over all masks of the batch. Sampling: draw a code at every mask, keep the surest by
log p + τ (1 - r) Gumbel, mask the rest again; ⌊N cos(πr/2)⌋ codes are masked after the share r of the passes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.training.random import StepRandom

from .problem import Predictor, Problem, categorical

LABEL_SMOOTHING, TEMPERATURE = 0.1, 4.5


class MaskGIT:
    """The network is not told how many codes are masked: it sees that."""

    def __init__(self, problem: Problem):
        self.problem, self.model = problem, problem.transformer()
        self.mask = problem.num_codes

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        masked = self.masks(codes.shape[1], random)
        x_t = codes.masked_fill(masked, self.mask)
        logits = self.model(x_t, torch.ones_like(labels), labels, self.problem.grid)
        return F.cross_entropy(logits.float()[masked], codes[masked], label_smoothing=LABEL_SMOOTHING)

    @staticmethod
    def masks(tokens: int, random: StepRandom) -> Tensor:
        """(B, N) bool, exactly ⌈N cos(πr/2)⌉ of each image, at least one."""
        count = (tokens * torch.cos(random.uniform() * math.pi / 2)).ceil().clamp_min(1)
        return random.uniform(tokens).argsort(1).argsort(1) < count[:, None]

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        generator = torch.Generator(labels.device).manual_seed(seed)
        predict, tokens = Predictor(self.model, self.problem.grid), self.problem.tokens
        calls = min(calls, tokens)  # every pass fixes a code at least
        x = torch.full((len(labels), tokens), self.mask, device=labels.device)
        for step in range(calls):
            masked, r = x == self.mask, (step + 1) / calls
            logits = predict.guided(x, torch.ones_like(labels), labels, guidance)
            drawn = torch.where(masked, categorical(logits, generator), x)
            noise = -torch.empty(x.shape, device=x.device).exponential_(generator=generator).log()
            log_p = torch.log_softmax(logits, -1).gather(-1, drawn[..., None])[..., 0]
            confidence = log_p + TEMPERATURE * (1 - r) * noise
            left = (masked.sum(1) - 1).clamp(1, math.floor(tokens * math.cos(math.pi * r / 2)))
            left = left if step + 1 < calls else torch.zeros_like(left)
            rank = confidence.masked_fill(~masked, math.inf).argsort(1).argsort(1)
            x = torch.where(rank < left[:, None], self.mask, drawn)
        return x
