"""Plain masked diffusion (MDLM, Sahoo et al. 2024; MD4, Shi et al. 2024) with the linear schedule: α_t = 1 -
t.

    -log p(x_0) ≤ ∫ (1/t) E[ Σ over masks of -log x̂(x_0) ] dt

Times are stratified over the batch. A step t → s unmasks a token with probability (t - s)/t and draws it from
x̂; what is unmasked stays."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.diffusion import low_discrepancy_times
from d3pm_image.training.random import StepRandom

from .problem import Predictor, Problem, categorical

FIRST_TIME = 1e-3  # MDLM's: nearer to 0 hardly a token is masked, and its weight 1/t is large


class MaskedDiffusion:
    """The network is not told the time: which tokens are masked says it."""

    def __init__(self, problem: Problem):
        self.problem, self.model = problem, problem.transformer()
        self.mask = problem.num_codes

    def loss(self, codes: Tensor, labels: Tensor, random: StepRandom) -> Tensor:
        t = low_discrepancy_times(random.shared(), len(codes)).to(codes.device)
        t = t * (1 - FIRST_TIME) + FIRST_TIME
        masked = random.uniform(codes.shape[1]) < t[:, None]
        x_t = codes.masked_fill(masked, self.mask)
        logits = self.model(x_t, torch.ones_like(labels), labels, self.problem.grid)
        nats = F.cross_entropy(logits.float().transpose(1, 2), codes, reduction="none")
        return (nats * masked / t[:, None]).mean().float()

    @torch.no_grad()
    def sample(self, labels: Tensor, calls: int, seed: int, guidance: float = 1.0) -> Tensor:
        generator = torch.Generator(labels.device).manual_seed(seed)
        predict = Predictor(self.model, self.problem.grid)
        x = torch.full((len(labels), self.problem.tokens), self.mask, device=labels.device)
        for step in range(calls):
            t, s = 1 - step / calls, 1 - (step + 1) / calls
            drawn = categorical(predict.guided(x, torch.ones_like(labels), labels, guidance), generator)
            now = torch.rand(x.shape, dtype=torch.float64, generator=generator, device=x.device) < (t - s) / t
            x = torch.where((x == self.mask) & (now | (step + 1 == calls)), drawn, x)
        return x
