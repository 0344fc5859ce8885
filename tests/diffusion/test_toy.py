"""The bound on a distribution small enough to enumerate: three tokens of three codes, 27 images, 64 noisy ones.

With the optimal leave-one-out prediction x̂* the reverse step is the product of the tokens' own q(x_s | x_t), so the bound is

    H(x_0) + KL(q(x_T) ‖ prior) + Σ_t C(x_s | x_t) ,    C the total correlation that a product cannot carry.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.strategies import kernel, schedules
from helpers.toy_distribution import (
    CLEAN,
    DATA,
    NOISY,
    STEPS,
    TRAINED_ON,
    Denoiser,
    K,
    N,
    Table,
    discrete_bound,
    expected_terms,
    mean,
    transitions,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.diffusion import ConstantShare, Gidd, Process, bound_terms


def surprise(p: Tensor) -> Tensor:
    """-p log p, summed over all."""
    return -torch.xlogy(p, p).sum()


ENTROPY = float(surprise(DATA))


def continuous_bound(denoiser: Denoiser, nodes: int = 40) -> Tensor:
    """The same, integrated by Gauss and Legendre's rule over u with t = sin²(πφ/2), φ = u³ (10 - 15 u + 6 u²): nodes crowd at both
    ends, where schedules have square roots and the bound has logarithms."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    total = N * denoiser.process.prior_kl()
    for u, weight in zip((points + 1) / 2, weights / 2, strict=True):
        angle = math.pi / 2 * u**3 * (10 - 15 * u + 6 * u**2)
        speed = math.pi / 2 * math.sin(2 * angle) * 30 * u**2 * (1 - u) ** 2
        t = math.sin(angle) ** 2
        total = total + weight * speed * expected_terms(denoiser.process, denoiser.logits(t), t)
    return total


def reverse_step(process: Process, x_hat: Tensor, s: float, t: float) -> Tensor:
    """p(x_s | x_t) of whole images, (64, 64), from predictions (64, N, K)."""
    p_s = F.pad(x_hat, (0, 1)) @ reference.transition(process, 0, s)
    joint = p_s * reference.transition(process, s, t).T[NOISY]  # (64, N, K+1)
    tokens = joint / joint.sum(-1, keepdim=True).clamp_min(1e-300)
    return torch.stack([tokens[:, i, NOISY[:, i]] for i in range(N)]).prod(0)


def log_likelihood(denoiser: Denoiser) -> Tensor:
    """log p(x_0) of the model, (27,): the whole reverse chain enumerated from its prior."""
    process, steps = denoiser.process, denoiser.process.steps
    g, _ = process.schedule.survival(torch.ones((), dtype=torch.float64))
    token = torch.cat([g.expand(K) / K, (1 - g)[None]])
    p = token[NOISY].prod(-1)
    for step in range(steps, 0, -1):
        t, s = step / steps, (step - 1) / steps
        p = p @ reverse_step(process, denoiser.logits(t).softmax(-1), s, t)
    places = (CLEAN * torch.tensor([(K + 1) ** (N - 1 - i) for i in range(N)])).sum(-1)
    assert float(p[places].sum()) == pytest.approx(1, abs=1e-9)
    return p[places].log()


def known_gap(process: Process) -> float:
    """KL(q(x_T) ‖ prior) + Σ_t C(x_s | x_t), from the dense joint distributions."""
    end = DATA @ transitions(process, 0, 1, CLEAN)
    alone = torch.stack(
        [(end[:, None] * (NOISY[:, i : i + 1] == torch.arange(K + 1))).sum(0) for i in range(N)]
    )
    g, _ = process.schedule.survival(torch.ones((), dtype=torch.float64))
    token = torch.cat([g.expand(K) / K, (1 - g)[None]])
    gap = float(-surprise(end) - torch.xlogy(alone.sum(0), token).sum())
    for step in range(1, process.steps + 1):
        t, s = step / process.steps, (step - 1) / process.steps
        joint = (DATA @ transitions(process, 0, s, CLEAN))[:, None] * transitions(process, s, t, NOISY)
        x_t = float(surprise(joint.sum(0)))
        apart = (
            surprise(torch.stack([joint[NOISY[:, i] == code].sum(0) for code in range(K + 1)])) - x_t
            for i in range(N)
        )
        gap += float(sum(apart) - (surprise(joint) - x_t))
    return gap


PROCESSES = {
    "absorbing": ConstantShare("linear", 0.0),
    "uniform": ConstantShare("linear", 1.0),
    "hybrid": ConstantShare("linear", 0.3),
    "cosine": ConstantShare("cosine", 0.1),
    "gidd": Gidd(0.2),
}
KERNELS = {"gaussian": ConstantShare("linear", 1.0), "nearest": ConstantShare("cosine", 0.3)}


def process_of(name: str, steps: int) -> Process:
    """One of the processes; codes of kernels lie in a plane."""
    if name in KERNELS:
        return Process(K, KERNELS[name], steps, kernel=kernel(K, name, neighbours=1))
    return Process(K, PROCESSES[name], steps)


every_process = pytest.mark.parametrize("name", [*PROCESSES, *KERNELS])


@given(schedules(K), st.sampled_from([1, 2, 3]), st.floats(0, 2), st.floats(0.2, 2), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_bound_of_every_image_is_above_the_model_s_own_negative_log_likelihood(
    schedule, steps, noise, sharp, seed
):
    """Whatever the denoiser; and no model is better on average than the entropy."""
    denoiser = Denoiser(Process(K, schedule, steps), noise, sharp, seed=seed)
    exact, bound = -log_likelihood(denoiser), discrete_bound(denoiser)
    assert (bound >= exact - 1e-9).all()
    assert mean(bound) >= mean(exact) - 1e-9 >= ENTROPY - 2e-9


@given(schedules(K), st.sampled_from([2, 5]), st.floats(0.01, 2), st.floats(0.2, 2), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_no_denoiser_has_a_lower_bound_than_the_optimal_one(schedule, steps, noise, sharp, seed):
    process = Process(K, schedule, steps)
    assert (
        mean(discrete_bound(Denoiser(process, noise, sharp, seed=seed)))
        >= mean(discrete_bound(Denoiser(process))) - 1e-9
    )


@given(schedules(K), st.sampled_from([1, 2, 3, 8]))
@settings(max_examples=25, deadline=None)
def test_the_optimal_bound_exceeds_the_entropy_by_what_a_product_cannot_carry(schedule, steps):
    """And the exact negative log-likelihood, by enumeration of the chain, lies between."""
    denoiser = Denoiser(Process(K, schedule, steps))
    bound = mean(discrete_bound(denoiser))
    assert bound == pytest.approx(ENTROPY + known_gap(denoiser.process), abs=1e-9)
    assert bound >= mean(-log_likelihood(denoiser)) - 1e-9


def test_one_step_from_noise_is_the_product_of_the_tokens_own_distributions():
    """T = 1 learns nothing of how tokens hang together: bound = exact negative log-likelihood = sum of the tokens' entropies."""
    denoiser = Denoiser(Process(K, ConstantShare("linear", 0.3), 1))
    tokens = sum(
        float(surprise(torch.stack([DATA[CLEAN[:, i] == code].sum() for code in range(K)]))) for i in range(N)
    )
    assert mean(discrete_bound(denoiser)) == pytest.approx(tokens, abs=1e-12)
    assert mean(-log_likelihood(denoiser)) == pytest.approx(tokens, abs=1e-12)


@every_process
def test_the_gap_falls_with_the_number_of_steps_and_in_the_end_as_its_inverse(name):
    """More slowly for GIDD, whose codes are scrambled at an infinite rate at t = 0."""
    gaps = [mean(discrete_bound(Denoiser(process_of(name, steps)))) - ENTROPY for steps in (2, 4, 8, 16, 32)]
    assert all(few > 1.4 * many > 0 for few, many in itertools.pairwise(gaps)), gaps
    assert gaps[-2] / gaps[-1] == pytest.approx(1.6 if name == "gidd" else 2, abs=0.1)


@every_process
def test_with_endless_steps_the_optimal_bound_is_the_entropy(name):
    """GIDD's rate is kept finite below t = 1e-12, which costs it 7e-6; the corners of a kernel's clock cost the integral digits."""
    bound = mean(continuous_bound(Denoiser(process_of(name, 0))))
    assert bound == pytest.approx(ENTROPY, abs=2e-5 if name == "gidd" else 2e-3 if name in KERNELS else 1e-9)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("curve", ["linear", "cosine"])
def test_masks_in_continuous_time_are_autoregression_in_every_order(noise, curve):
    """Mean over the 6 orders of Σ -log x̂(next | those before), for a denoiser that knows nothing of time (Hoogeboom et al. 2022)."""
    denoiser = Denoiser(Process(K, ConstantShare(curve, 0.0), 0), noise, seed=3)
    log_x = denoiser.logits(0.5).log_softmax(-1)
    total = torch.zeros(len(CLEAN), dtype=torch.float64)
    for order in itertools.permutations(range(N)):
        x_t = torch.full_like(CLEAN, K)
        for i in order:
            place = (x_t * torch.tensor([16, 4, 1])).sum(-1)
            total -= log_x[place, i, CLEAN[:, i]] / 6
            x_t = x_t.index_copy(1, torch.tensor([i]), CLEAN[:, i : i + 1])
    torch.testing.assert_close(continuous_bound(denoiser), total, rtol=1e-9, atol=1e-9)
    many = discrete_bound(Denoiser(Process(K, ConstantShare("linear", 0.0), 200), noise, seed=3))
    torch.testing.assert_close(many, total, rtol=0.01, atol=0)


@every_process
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_discrete_bound_meets_the_continuous_one(name, noise):
    """At a distance that falls as 1/T (GIDD's more slowly)."""
    limit = mean(continuous_bound(Denoiser(process_of(name, 0), noise, seed=1)))
    off = [
        abs(mean(discrete_bound(Denoiser(process_of(name, steps), noise, seed=1))) - limit)
        for steps in (8, 32, 128)
    ]
    assert off[1] < off[0] / 2.5 and off[2] < off[1] / 2.5, (off, limit)
    assert off[2] < 0.015 * limit


@given(schedules(4), st.sampled_from([1, 2, 7]), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
@settings(max_examples=40, deadline=None)
def test_of_a_single_token_the_optimal_bound_is_the_entropy(schedule, steps, logits):
    """What the others say of it is its own distribution, and nothing is lost but what is left of it in x_T."""
    process, p = Process(4, schedule, steps), torch.tensor(logits, dtype=torch.float64).softmax(0)
    x_0, x_t = torch.cartesian_prod(torch.arange(4), torch.arange(5)).T[:, :, None]
    total = float(process.prior_kl())
    for step in range(1, steps + 1):
        t = step / steps
        weight = p[x_0[:, 0]] * reference.transition(process, 0, t)[x_0, x_t][:, 0]
        terms = bound_terms(
            process, p.log().expand(20, 1, 4), x_0, x_t, torch.full((20,), t, dtype=torch.float64)
        )
        total += float(torch.where(weight > 0, weight * terms.bound[:, 0], 0).sum()) / steps
    end = p @ reference.transition(process, 0, 1)[:4]
    g, _ = process.schedule.survival(torch.ones((), dtype=torch.float64))
    left = float(
        torch.xlogy(end, end).sum() - torch.xlogy(end, torch.cat([g.expand(4) / 4, (1 - g)[None]])).sum()
    )
    assert total == pytest.approx(float(surprise(p)) + left, abs=1e-9)


def test_a_posterior_network_has_the_same_optimum():
    """Logits log p(x_0 | x_t) in the posterior form: the bound of the leave-one-out optimum."""
    for name, schedule in PROCESSES.items():
        process = Process(K, schedule, 8)
        twin = Process(K, schedule, 8, "posterior")
        bound = mean(discrete_bound(Denoiser(twin, own=True)))
        assert bound == pytest.approx(mean(discrete_bound(Denoiser(process))), abs=1e-9), name


# Training. A table of logits has the optimum in reach; what it learns is measured by the exact bound.


def raw_cross_entropy(process, logits, x_0, x_t, t):
    return F.cross_entropy(logits.flatten(0, 1), x_0.flatten())


def test_training_on_the_raw_prediction_ends_elsewhere():
    """Cross-entropy of leave-one-out logits themselves learns p(x_0 | x_t), which counts the token's own evidence twice."""
    process = Process(K, TRAINED_ON, STEPS)
    best = mean(discrete_bound(Denoiser(process)))
    fooled = mean(discrete_bound(Denoiser(process, own=True)))
    assert fooled > 1.3 * best
    assert mean(discrete_bound(Table(process).learn(raw_cross_entropy))) == pytest.approx(fooled, rel=0.015)
