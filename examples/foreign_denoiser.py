"""The process, the loss and the samplers with a network and codes of one's own.

python examples/foreign_denoiser.py
"""

import torch
from torch import nn

from d3pm_image.config import SamplingConfig
from d3pm_image.diffusion import (
    ConstantShare,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    low_discrepancy_times,
)
from d3pm_image.sampling.choice import make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams

CODES, GRID = 5, (3, 4)  # K; H, W
TOKENS = GRID[0] * GRID[1]
row, column = torch.arange(TOKENS) // GRID[1], torch.arange(TOKENS) % GRID[1]
DATA = torch.stack(
    [(begin + row + slope * column) % CODES for begin in range(5) for slope in (1, 2)]
)  # ten patterns of 5^12


class Foreign(nn.Module):
    """Any network will do that gives logits (B, N, K) of noisy codes (B, N); this one leaves κ, labels, grid
    and the positions that are asked for unread, which pure masking (uniform_share 0) permits."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.tokens = nn.Embedding(CODES + 1, 16)  # one more: the mask
        self.layers = nn.Sequential(
            nn.Linear(16 * TOKENS, width), nn.SiLU(), nn.Linear(width, TOKENS * CODES)
        )

    def forward(self, x_t, kappa, labels, grid, where=None):
        return self.layers(self.tokens(x_t).flatten(1)).unflatten(1, (TOKENS, CODES))


def train(
    network: nn.Module, process: Process, objective: Objective, steps: int = 400, batch: int = 128
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(steps):
        x_0 = DATA[torch.randint(len(DATA), (batch,))]
        t = low_discrepancy_times(torch.rand(()), batch, process.steps)
        x_t = process.corrupt(x_0, t, torch.rand(*x_0.shape, 3))
        logits = network(x_t, process.schedule.survival(t)[1], None, GRID)
        loss = diffusion_loss(process, objective, bound_terms(process, logits, x_0, x_t, t), x_0, x_t, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def share_of_patterns(codes: torch.Tensor) -> float:
    """Share of the samples (B, N) that are one of the ten patterns, in every token."""
    return (codes[:, None] == DATA).all(-1).any(-1).double().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    process = Process(CODES, ConstantShare("cosine", uniform_share=0.0), steps=100)
    network = Foreign()
    train(network, process, Objective(bound=0.2, auxiliary=1.0))
    labels = torch.zeros(500, dtype=torch.int64)
    for sampler, steps in (("ancestral", 60), ("confidence", TOKENS)):
        request = Request(make_sampler(sampler), SamplingConfig(steps=steps))
        codes = sample(network.eval(), process, request, labels, 0, GRID, ImageStreams(7, range(500)))
        share, chance = share_of_patterns(codes), 10 / CODES**TOKENS
        print(f"{sampler}: {share:.1%} of 500 samples are one of the ten patterns; chance {chance:.0e}")
