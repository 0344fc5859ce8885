"""The loss where numbers run out: no mass masked yet, a clean code that the network rules out, and digits in float64."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch.nn import functional as F

from d3pm_image.diffusion import (
    ConstantShare,
    Curve,
    Independent,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    fused_loss,
)
from d3pm_image.seeds import derive, entropy

K, N, D = 16, 8, 8


def both(process: Process, objective: Objective, t: torch.Tensor, seed: int, masks: bool = False):
    """Loss and gradient of the head, plainly and fused, for times t."""
    draw = torch.Generator().manual_seed(seed)
    x_0 = torch.randint(K, (len(t), N), generator=draw)
    x_t = process.corrupt(x_0, t, torch.rand(len(t), N, 3, generator=draw, dtype=torch.float64))
    if masks:  # more than the process would draw
        x_t[:, 0] = process.masked_like(x_t)[:, 0]
    hidden, found = torch.randn(len(t), N, D, generator=draw), []
    start = torch.randn(K, D, generator=draw)
    for fused in (False, True):
        weight, bias = start.clone().requires_grad_(), torch.zeros(K, requires_grad=True)
        if fused:
            loss, _ = fused_loss(process, objective, hidden, weight, bias, x_0, x_t, t)
        else:
            loss = diffusion_loss(
                process,
                objective,
                bound_terms(process, F.linear(hidden, weight, bias), x_0, x_t, t),
                x_0,
                x_t,
                t,
            )
        loss.backward()
        assert weight.grad is not None and bias.grad is not None
        found.append((loss.detach(), weight.grad, bias.grad))
    return found


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("power", [2.0, 3.0, 6.0])
@pytest.mark.parametrize("weighting", ["elbo", "clipped", "dynamic"])
@pytest.mark.parametrize("steps", [0, 1_000_000])
def test_plain_and_fused_loss_agree_where_the_corrupted_share_underflows(share, power, weighting, steps):
    """1 - g and 1 - κ are 0 in float64 at these times; the gradient was NaN at steps 0."""
    process = Process(K, ConstantShare("polynomial", share, power), steps)
    t = torch.tensor([1e-9, 1e-6, 1e-5, 1e-3, 0.1, 0.7, 0.9, 1.0], dtype=torch.float64).clamp_min(
        1 / steps if steps else 0
    )
    for masks in (False, True):
        if masks and share == 1:
            continue
        plain, fused = both(process, Objective(1.0, 0.1, weighting), t, 0, masks)
        for one, other in zip(plain, fused, strict=True):
            assert bool(torch.isfinite(one).all())
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_plain_and_fused_loss_agree_with_two_polynomial_curves():
    process = Process(K, Independent("polynomial", "polynomial", 0.5, 5.0), 0)
    t = torch.tensor([1e-7, 1e-5, 1e-4, 0.5, 0.999], dtype=torch.float64)
    plain, fused = both(process, Objective(1.0, 0.0), t, 3)
    for one, other in zip(plain, fused, strict=True):
        assert bool(torch.isfinite(one).all())
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("steps", [0, 10])
@pytest.mark.parametrize("t", [0.1, 0.5])  # with 10 steps 0.1 is the reconstruction step
def test_a_kept_token_costs_nothing_where_nothing_is_random(steps, t):
    """Pure masking: whatever the network says of a kept token, its own code ruled out included, is not looked at."""
    process = Process(4, ConstantShare("linear", 0.0), steps)
    logits = torch.tensor([[[-torch.inf, 0.0, 1.0, 2.0], [0.5, 0.0, 1.0, 2.0]]], requires_grad=True)
    x_0, x_t = torch.tensor([[0, 1]]), torch.tensor([[0, 4]])
    terms = bound_terms(process, logits, x_0, x_t, torch.tensor([t], dtype=torch.float64))
    assert terms.bound[0, 0] == 0 and terms.auxiliary[0, 0] == 0 and bool(torch.isfinite(terms.bound[0, 1]))
    (terms.bound.sum() + terms.auxiliary.sum()).backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())
    assert not logits.grad[0, 0].any() and logits.grad[0, 1].any()


def test_a_kept_tokens_bound_is_finite_with_random_codes_too():
    """x̂_v = 0 is bad news but no infinite one: a random code may have come out right."""
    process = Process(4, ConstantShare("linear", 0.3), 0)
    logits = torch.tensor([[[-torch.inf, 0.0, 1.0, 2.0]]], dtype=torch.float64, requires_grad=True)
    near = torch.tensor([[[-60.0, 0.0, 1.0, 2.0]]], dtype=torch.float64)
    x, t = torch.tensor([[0]]), torch.tensor([0.5], dtype=torch.float64)
    bound = bound_terms(process, logits, x, x, t).bound
    torch.testing.assert_close(bound, bound_terms(process, near, x, x, t).bound, rtol=1e-9, atol=0)
    bound.sum().backward()
    assert logits.grad is not None and bool(torch.isfinite(logits.grad).all())


def test_the_cross_entropy_of_a_kept_token_has_float64_digits():
    """softplus(x) near 20, where torch's own takes x."""
    process, t = Process(4, ConstantShare("linear", 0.3), 0), torch.tensor([0.9], dtype=torch.float64)
    kappa = mpmath.mpf(float(process.schedule.survival(t)[1]))
    for own in (-18.0, -20.0, -24.0, -30.0):
        logits = torch.tensor([[[own, 0.0, 0.0, 0.0]]], dtype=torch.float64)
        found = float(bound_terms(process, logits, torch.tensor([[0]]), torch.tensor([[0]]), t).auxiliary)
        with mpmath.workdps(40):
            odds = 1 + 4 * kappa / (1 - kappa)
            mass = mpmath.e ** mpmath.mpf(own) * odds
            right = -mpmath.log(mass / (mass + 3))
        assert abs(found - float(right)) < 1e-13 * float(right)


CURVES = {
    "arccos": lambda t: 2 / mpmath.pi * mpmath.acos(1 - t),
    "offset_cosine": lambda t: (
        1
        - mpmath.cos((t + OFFSET) / (1 + OFFSET) * mpmath.pi / 2)
        / mpmath.cos(OFFSET / (1 + OFFSET) * mpmath.pi / 2)
    ),
    "cosine": lambda t: mpmath.sin(mpmath.pi * t / 2),
}
OFFSET = mpmath.mpf(0.008)


@pytest.mark.parametrize("name", CURVES)
def test_curves_keep_their_digits_near_zero(name):
    times = [1e-12, 1e-9, 1e-6, 1e-3, 0.1, 0.49, 0.51, 0.9, 1.0]
    curve = Curve(name)
    values = curve.value(torch.tensor(times, dtype=torch.float64))
    with mpmath.workdps(40):
        for t, value in zip(times, values.tolist(), strict=True):
            right = CURVES[name](mpmath.mpf(t))
            assert abs(value - right) <= 1e-15 * right, t
    back = curve.inverse(values[:-1])
    torch.testing.assert_close(back, torch.tensor(times[:-1], dtype=torch.float64), rtol=1e-11, atol=0)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for end in (curve.value(ends), curve.inverse(ends)):
        assert end[0] == 0 and 1 - 2e-16 < end[1] <= 1


def test_large_seeds_are_streams_of_their_own():
    """NumPy joins the words of all numbers: 5 + 7·2³² would be (5, 7)."""
    large = [
        (5 + 7 * 2**32, 0),
        (5 + 7 * 2**32,),
        (5, 7),
        (2**32, 1),
        (0, 1, 1),
        (2**64 + 3, 1),
        (3, 0, 1),
        (3, 1),
        (1, 2**32),
        (1, 0, 1),
    ]
    assert len({derive(*parts) for parts in large}) == len(large)
    assert derive(2**40) == derive(2**40) != derive(2**40 + 1)
    assert len(entropy(2**40, 3)) == 2


def test_small_seeds_keep_their_streams():
    """Images of version 0.1.0 can be made again."""
    kept = {
        (0, 0): 6569863346532939966,
        (5, 7): 8636840434875530895,
        (2**32 - 1, 3): 5576022227212744352,
        (1, 2, 3): 3773880422699760768,
    }
    for parts, seed in kept.items():
        assert derive(*parts) == seed
