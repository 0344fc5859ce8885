"""Training on a distribution small enough to enumerate reaches the optimal bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.toy_distribution import (
    STEPS,
    TRAINED_ON,
    Denoiser,
    K,
    Table,
    discrete_bound,
    mean,
)

from d3pm_image.diffusion import ConstantShare, Objective, Process, bound_terms, diffusion_loss


def ours(objective: Objective):
    return lambda process, logits, x_0, x_t, t: diffusion_loss(
        process, objective, bound_terms(process, logits, x_0, x_t, t), x_0, x_t, t
    )


@pytest.mark.parametrize(
    "parameterisation, objective",
    [
        pytest.param("leave_one_out", Objective(1.0), id="bound", marks=pytest.mark.slow),
        pytest.param("leave_one_out", Objective(0.0, 1.0), id="cross-entropy", marks=pytest.mark.slow),
        pytest.param("leave_one_out", Objective(0.2, 1.0), id="both"),
        pytest.param("posterior", Objective(1.0), id="posterior"),
    ],
)
def test_training_reaches_the_optimal_bound(parameterisation, objective):
    """The bound and CE(π) share their optimum, whatever the logits mean."""
    process = Process(K, TRAINED_ON, STEPS, parameterisation)
    best = mean(discrete_bound(Denoiser(Process(K, TRAINED_ON, STEPS))))
    found = mean(discrete_bound(Table(process).learn(ours(objective))))
    assert best - 1e-6 <= found <= 1.015 * best


@pytest.mark.parametrize("steps", [0, 8])
def test_the_raw_cross_entropy_has_its_optimum_at_seven_eighths_where_the_bound_has_a_half(steps):
    """One fair bit, κ = 3/4: nothing says what it was but itself. Shares of the optimal prediction that the noisy bit is right."""
    process = Process(2, ConstantShare("linear", 1.0), steps)
    x_0, x_t, t = (
        torch.tensor([[0], [1]]),
        torch.zeros(2, 1, dtype=torch.long),
        torch.full((2,), 0.25, dtype=torch.float64),
    )
    weight = torch.tensor([0.875, 0.125], dtype=torch.float64)[:, None]
    shares = torch.arange(1, 1000, dtype=torch.float64) / 1000

    def best(loss) -> float:
        values = [float((weight * loss(torch.stack([p, 1 - p]).log().expand(2, 1, 2))).sum()) for p in shares]
        return float(shares[int(np.argmin(values))])

    assert best(lambda logits: bound_terms(process, logits, x_0, x_t, t).bound) == 0.5
    assert best(lambda logits: bound_terms(process, logits, x_0, x_t, t).auxiliary) == 0.5
    assert best(lambda logits: -logits.log_softmax(-1).gather(-1, x_0[..., None])[..., 0]) == 0.875
