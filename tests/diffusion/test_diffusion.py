"""The closed forms against the dense reference, in float64, and the limits that name known methods."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import reference
from helpers.strategies import from_settings, processes
from helpers.tensors import f64
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.config import ConfigError
from d3pm_image.diffusion import (
    ConstantShare,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    leave_one_out_logits,
    low_discrepancy_times,
    posterior,
    posterior_bias,
    posterior_logits,
    reverse_leave_one_out,
    reverse_mixture,
)

EXACT = 1e-10


def reachable(process: Process, x_0: int, x_t: int, t: float) -> bool:
    return reference.transition(process, 0, t)[x_0, x_t] > 0


@given(processes(), st.data())
@settings(max_examples=60, deadline=None)
def test_jumps_compose(process, data):
    """Q(0→s) Q(s→t) = Q(0→t): the property that makes k-step jumps one formula."""
    s, t = sorted(data.draw(st.tuples(st.floats(0.01, 0.98), st.floats(0.02, 0.99))))
    product = reference.transition(process, 0, s) @ reference.transition(process, s, t)
    torch.testing.assert_close(product, reference.transition(process, 0, t), atol=EXACT, rtol=0)


@given(processes())
@settings(max_examples=40, deadline=None)
def test_curves_start_at_one_and_fall(process):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    for curve in process.schedule.survival(t):
        assert curve[0] == 1
        assert (curve.diff() <= 1e-15).all()
        assert (curve >= 0).all()
    step = 1e-6
    t = t[5:-5] + 0.0043  # off the corners of piecewise curves
    for analytic, low, high in zip(
        process.schedule.slopes(t),
        process.schedule.survival(t - step),
        process.schedule.survival(t + step),
        strict=True,
    ):
        torch.testing.assert_close(analytic, (high - low) / (2 * step), atol=1e-6, rtol=1e-6)


@given(processes(), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_time_of_mask_share_inverts_the_mask_curve(process, t):
    time = f64(t)
    g, _ = process.schedule.survival(time)
    again, _ = process.schedule.survival(process.schedule.time_of_mask_share(1 - g))
    torch.testing.assert_close(again, g, atol=1e-9, rtol=0)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_corrupt_draws_the_marginal(share):
    process = Process(4, ConstantShare("linear", share), 10)
    n = 200_000
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(1, n, 3, dtype=torch.float64, generator=generator)
    x_t = process.corrupt(torch.full((1, n), 2), f64(0.7), draws)
    seen = torch.bincount(x_t[0], minlength=5).double() / n
    expected = reference.transition(process, 0, 0.7)[2]
    assert (seen - expected).abs().max() < 5 * 0.5 / math.sqrt(n)
    assert seen[expected == 0].sum() == 0


def test_jump_from_noisy_codes_draws_the_transition():
    process = Process(3, ConstantShare("cosine", 0.4), 0)
    n = 100_000
    generator = torch.Generator().manual_seed(1)
    for start in range(4):
        draws = torch.rand(1, n, 3, dtype=torch.float64, generator=generator)
        x_t = process.jump(torch.full((1, n), start), f64(0.3), f64(0.8), draws)
        seen = torch.bincount(x_t[0], minlength=4).double() / n
        assert (seen - reference.transition(process, 0.3, 0.8)[start]).abs().max() < 5 * 0.5 / math.sqrt(n)


def test_corrupt_at_time_zero_changes_nothing_and_time_one_forgets():
    process = Process(7, ConstantShare("linear", 0.2), 10)
    x_0 = torch.randint(7, (3, 50))
    draws = torch.rand(3, 50, 3, dtype=torch.float64)
    assert torch.equal(process.corrupt(x_0, torch.zeros(3, dtype=torch.float64), draws), x_0)
    other = torch.randint(7, (3, 50))
    one = torch.ones(3, dtype=torch.float64)
    assert torch.equal(process.corrupt(x_0, one, draws), process.corrupt(other, one, draws))


def rounding(process: Process, t: float) -> float:
    """What float64 leaves of a ratio of probabilities that the process has hardly reached at t: 1e-16 over the
    smallest of them."""
    g, kappa = process.schedule.survival(f64(t))
    return max(EXACT, 1e-15 / max(1 - float(g * kappa), 1e-9))


@given(processes(), st.data())
@settings(max_examples=150, deadline=None)
def test_reverse_leave_one_out_are_bayes_rule(process, data):
    """One-hot x̂ gives q(x_s|x_t,x_0); any x̂ gives the plug-in (loo) reverse; both sum to one."""
    k = process.num_codes
    s, t = sorted(
        data.draw(
            st.tuples(st.floats(0.01, 0.97), st.floats(0.02, 0.98)).filter(lambda p: abs(p[0] - p[1]) > 1e-3)
        )
    )
    x_0, x_t = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k))
    x_hat = torch.tensor(data.draw(st.lists(st.floats(0.01, 1), min_size=k, max_size=k)), dtype=torch.float64)
    x_hat = x_hat / x_hat.sum()
    if process.schedule.uniform and x_t == k:
        return
    args = (torch.tensor([[x_t]]), f64(t), f64(s))
    soft = reverse_leave_one_out(process, x_hat[None, None], *args)[0, 0]
    torch.testing.assert_close(
        soft, reference.reverse_loo(process, x_hat, x_t, s, t), atol=rounding(process, t), rtol=0
    )
    assert abs(float(soft.sum()) - 1) < rounding(process, t)
    if reachable(process, x_0, x_t, t):
        hard = posterior(process, torch.tensor([[x_0]]), *args)[0, 0]
        torch.testing.assert_close(
            hard, reference.posterior(process, x_0, x_t, s, t), atol=rounding(process, t), rtol=0
        )


@given(processes(), st.data())
@settings(max_examples=100, deadline=None)
def test_posterior_bias_maps_loo_to_the_mixture_form(process, data):
    """Σ_i π_i q(x_s|x_t,i) with π = softmax(log x̂ + ℓ onehot(x_t)) equals the loo reverse."""
    k = process.num_codes
    s, t = sorted(
        data.draw(
            st.tuples(st.floats(0.02, 0.9), st.floats(0.05, 0.95)).filter(lambda p: abs(p[0] - p[1]) > 1e-3)
        )
    )
    x_t = data.draw(st.integers(0, k - 1 if process.schedule.uniform else k))
    logits = torch.tensor(data.draw(st.lists(st.floats(-3, 3), min_size=k, max_size=k)), dtype=torch.float64)
    pi = posterior_logits(process, logits[None, None], torch.tensor([[x_t]]), f64(t)).softmax(-1)[0, 0]
    mixture = reference.reverse_mixture(process, pi, x_t, s, t)
    torch.testing.assert_close(
        mixture, reference.reverse_loo(process, logits.softmax(-1), x_t, s, t), atol=1e-9, rtol=0
    )
    fast = reverse_mixture(process, pi[None, None], torch.tensor([[x_t]]), f64(t), f64(s))[0, 0]
    torch.testing.assert_close(fast, mixture, atol=1e-9, rtol=0)


@given(processes(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_posterior_network_gives_the_same_bound_as_its_leave_one_out_twin(process, data):
    """Logits of π, with parameterisation posterior, cost what the leave-one-out logits cost that they map to."""
    k, steps = process.num_codes, process.steps
    t = data.draw(st.integers(1, steps)) / steps
    x_0, x_t = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k))
    if not reachable(process, x_0, x_t, t):
        return
    process = replace(process, kernel=None)
    twin = replace(process, parameterisation="posterior")
    logits = torch.tensor(data.draw(st.lists(st.floats(-3, 3), min_size=k, max_size=k)), dtype=torch.float64)[
        None, None
    ]
    noisy = torch.tensor([[x_t]])
    lifted = posterior_logits(process, logits, noisy, f64(t)) if not process.schedule.absorbing else logits
    args = (torch.tensor([[x_0]]), noisy, f64(t))
    for name in ("bound", "auxiliary"):
        expected = getattr(bound_terms(process, logits, *args), name)
        torch.testing.assert_close(
            getattr(bound_terms(twin, lifted, *args), name), expected, atol=1e-9, rtol=1e-9
        )
    kappa = process.schedule.survival(f64(t))[1]
    back = leave_one_out_logits(twin, lifted, noisy, kappa)
    torch.testing.assert_close(back, logits, atol=1e-9, rtol=0)


def test_bias_values():
    """κ = 1 is certainty; κ = 0 is no evidence; in between log(1 + Kκ/(1-κ))."""
    absorbing, uniform = (
        Process(4, ConstantShare("linear", 0.0), 10),
        Process(4, ConstantShare("linear", 1.0), 10),
    )
    assert posterior_bias(absorbing, f64(0.5)) == math.inf
    assert float(posterior_bias(uniform, f64(1.0))) == 0
    assert float(posterior_bias(uniform, f64(0.25))) == pytest.approx(math.log(1 + 4 * 0.75 / 0.25))


@given(processes(), st.data())
@settings(max_examples=200, deadline=None)
def test_discrete_bound_is_the_dense_kl(process, data):
    """T·KL from the log-normaliser and one reduction equals the KL of dense posteriors, s = 0 included."""
    k, steps = process.num_codes, process.steps
    step = data.draw(st.integers(1, steps))
    t, s = step / steps, (step - 1) / steps
    x_0, x_t = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k))
    if not reachable(process, x_0, x_t, t):
        return
    logits = torch.tensor(data.draw(st.lists(st.floats(-4, 4), min_size=k, max_size=k)), dtype=torch.float64)
    terms = bound_terms(process, logits[None, None], torch.tensor([[x_0]]), torch.tensor([[x_t]]), f64(t))
    if step == 1:
        expected = -math.log(reference.reverse_loo(process, logits.softmax(-1), x_t, s, t)[x_0])
    else:
        expected = reference.kl(
            reference.posterior(process, x_0, x_t, s, t),
            reference.reverse_loo(process, logits.softmax(-1), x_t, s, t),
        )
    assert float(terms.bound) / steps == pytest.approx(expected, abs=EXACT, rel=1e-9)
    pi = posterior_logits(process, logits[None, None], torch.tensor([[x_t]]), f64(t)).log_softmax(-1)[0, 0]
    assert float(terms.auxiliary) == pytest.approx(-float(pi[x_0]), abs=1e-9)
    assert (
        bool(terms.correct) == (int(pi.argmax()) == x_0)
        or float(pi.sort().values[-1] - pi.sort().values[-2]) < 1e-9
    )


@given(
    st.integers(2, 5),
    st.sampled_from(["linear", "cosine"]),
    st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    st.floats(0.05, 0.95),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_continuous_bound_is_the_limit_of_the_discrete_one(k, curve, share, t, data):
    x_0, x_t = data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k))
    continuous, fine = (
        Process(k, ConstantShare(curve, share), 0),
        Process(k, ConstantShare(curve, share), 1_000_000),
    )
    t = round(t, 6)
    if not reachable(continuous, x_0, x_t, t):
        return
    logits = torch.tensor(data.draw(st.lists(st.floats(-3, 3), min_size=k, max_size=k)), dtype=torch.float64)[
        None, None
    ]
    args = (logits, torch.tensor([[x_0]]), torch.tensor([[x_t]]), f64(t))
    assert float(bound_terms(continuous, *args).bound) == pytest.approx(
        float(bound_terms(fine, *args).bound), rel=2e-4, abs=2e-4
    )


def test_absorbing_bound_is_the_weighted_cross_entropy():
    """κ ≡ 1: weight (α_s-α_t)/(1-α_t) at masks and nothing elsewhere (D3PM absorbing, MD4, MDLM)."""
    process = Process(6, ConstantShare("linear", 0.0), 20)
    logits, x_0 = torch.randn(2, 3, 6, dtype=torch.float64), torch.randint(6, (2, 3))
    x_t = torch.where(torch.tensor([[True, False, True]]), torch.full_like(x_0, 6), x_0)
    t = f64(0.5, 0.8)
    terms = bound_terms(process, logits, x_0, x_t, t)
    expected = torch.where(
        x_t == 6,
        -logits.log_softmax(-1).gather(-1, x_0[..., None])[..., 0] / t[:, None],
        torch.zeros(2, 3, dtype=torch.float64),
    )
    torch.testing.assert_close(terms.bound, expected, atol=1e-9, rtol=0)
    assert (terms.auxiliary[x_t != 6].abs() < 1e-12).all()


def test_float32_agrees_with_float64_at_16384_codes():
    process = Process(16384, ConstantShare("linear", 0.1), 1000)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 32, 16384, dtype=torch.float64, generator=generator)
    x_0 = torch.randint(16384, (4, 32), generator=generator)
    t = f64(0.002, 0.25, 0.6, 1.0)
    x_t = process.corrupt(x_0, t, torch.rand(4, 32, 3, dtype=torch.float64, generator=generator))
    exact, fast = bound_terms(process, logits, x_0, x_t, t), bound_terms(process, logits.float(), x_0, x_t, t)
    torch.testing.assert_close(fast.bound.double(), exact.bound, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(fast.auxiliary.double(), exact.auxiliary, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("steps", [0, 1000])
def test_gradients_are_finite_everywhere(share, steps):
    process = Process(8, ConstantShare("linear", share), steps)
    logits = (30 * torch.randn(16, 20, 8)).requires_grad_()
    x_0 = torch.randint(8, (16, 20))
    t = low_discrepancy_times(torch.tensor(0.3), 16, steps)
    x_t = process.corrupt(x_0, t, torch.rand(16, 20, 3, dtype=torch.float64))
    diffusion_loss(
        process, Objective(1.0, 0.5), bound_terms(process, logits, x_0, x_t, t), x_0, x_t, t
    ).backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


@given(processes())
@settings(max_examples=30, deadline=None)
def test_prior_kl_is_the_dense_one(process):
    """KL(q(x_T|x_0) ‖ prior); schedules that end clean of signal give 0."""
    ends = reference.transition(process, 0, 1.0)[:-1]
    prior = torch.full_like(ends[0], float(ends[0, :-1].sum()) / process.num_codes)
    prior[-1] = ends[0, -1]
    most = max(reference.kl(end, prior) for end in ends)
    assert float(process.prior_kl()) == pytest.approx(most, abs=EXACT)


def test_low_discrepancy_times_cover_the_steps():
    times = low_discrepancy_times(torch.tensor(0.37), 1000, 1000)
    assert sorted((times * 1000).round().long().tolist()) == list(range(1, 1001))
    continuous = low_discrepancy_times(torch.tensor(0.37), 8)
    assert ((continuous * 8).floor().clamp_max(7).sort().values == torch.arange(8)).all()
    assert continuous.min() > 0 and continuous.max() <= 1


def test_a_single_code_costs_nothing():
    process = Process(1, ConstantShare("linear", 0.1), 10)
    x_0 = torch.zeros(2, 4, dtype=torch.long)
    t = f64(0.1, 0.7)
    terms = bound_terms(process, torch.randn(2, 4, 1), x_0, process.corrupt(x_0, t, torch.rand(2, 4, 3)), t)
    assert float(terms.bound.abs().max()) < 1e-5 and float(terms.auxiliary.abs().max()) < 1e-5


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ConfigError, match="uniform_share"):
        ConstantShare("linear", share)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_room_works_on_half_logits_and_under_autocast(dtype):
    """Half logits are raised to float32 before any exponential: errors stay those of the rounded logits."""
    process = from_settings(50)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 30, 50, generator=generator).to(dtype)
    x_0 = torch.randint(50, (4, 30), generator=generator)
    t = f64(0.1, 0.4, 0.7, 1.0)
    x_t = process.corrupt(x_0, t, torch.rand(4, 30, 3, dtype=torch.float64, generator=generator))
    exact = bound_terms(process, logits.double(), x_0, x_t, t)
    with torch.autocast("cpu", torch.bfloat16):
        terms = bound_terms(process, logits.clone().requires_grad_(), x_0, x_t, t)
        loss = diffusion_loss(process, Objective(1.0, 1.0), terms, x_0, x_t, t)
    assert terms.bound.dtype == torch.float32
    assert loss.requires_grad
    torch.testing.assert_close(terms.bound.double(), exact.bound, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(terms.auxiliary.double(), exact.auxiliary, rtol=1e-4, atol=1e-5)
