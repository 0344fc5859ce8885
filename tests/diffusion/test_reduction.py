"""The one-pass statistics, their gradients, and the fused head against the plain formulas."""

from __future__ import annotations

import pytest
import torch
from helpers.strategies import processes, schedules
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from d3pm_image.diffusion import (
    ConstantShare,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    fused_loss,
    low_discrepancy_times,
)
from d3pm_image.diffusion import reduction as red


def plain(z, i, v, ratio, shift):
    """The same numbers by the definition."""
    z = z if shift is None else z.scatter_add(-1, v[:, None], shift[:, None])
    x = z.softmax(-1)
    rows = torch.arange(len(z))
    return (
        z.logsumexp(-1),
        z[rows, i],
        z[rows, v],
        torch.log1p(ratio[:, None] * x).sum(-1),
        z.amax(-1),
        z.mean(-1),
    )


def rows_of(n: int, k: int, dtype=torch.float64, scale: float = 3.0):
    generator = torch.Generator().manual_seed(n * 31 + k)
    z = (scale * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)
    i, v = torch.randint(k, (2, n), generator=generator)
    v[: n // 2] = i[: n // 2]
    ratio = (10 ** (8 * torch.rand(n, generator=generator, dtype=torch.float64) - 2)).to(dtype)
    return z, i, v, ratio, torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("codes", [1, 2, 5, 16, 64, 257, 1024])
@pytest.mark.parametrize("shifted", [False, True])
def test_statistics_and_their_gradient_are_those_of_the_definition(codes, shifted, monkeypatch):
    monkeypatch.setitem(red.CHUNK_ELEMENTS, "cpu", 3 * codes)  # several chunks, the last one shorter
    z, i, v, ratio, shift = rows_of(10, codes)
    shift = shift if shifted else None
    fast, slow = z.clone().requires_grad_(), z.clone().requires_grad_()
    found, expected = red.statistics(fast, i, v, ratio, shift, True, True), plain(slow, i, v, ratio, shift)
    for name, a, b in zip(red.Statistics._fields, found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12, msg=name)
    weights = torch.randn(6, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights[4] = 0
    for values in (found, expected):
        sum((w * value).sum() for w, value in zip(weights, values, strict=True)).backward()
    torch.testing.assert_close(fast.grad, slow.grad, atol=1e-11, rtol=1e-10)


@pytest.mark.parametrize("codes", [64, 4096, 16384])
def test_folding_factors_keeps_float32_digits(codes):
    z, i, v, _, _ = rows_of(6, codes)
    for exponent in (-9, -3, 0, 4, 8.9, 12):
        ratio = torch.full((6,), 10.0**exponent, dtype=torch.float64)
        exact = red.statistics(z, i, v, ratio).spread
        fast = red.statistics(z.float(), i, v, ratio.float()).spread
        torch.testing.assert_close(fast.double(), exact, rtol=3e-6, atol=0)


@given(
    processes(),
    st.sampled_from(["elbo", "clipped", "min_snr", "dynamic"]),
    st.sampled_from(["leave_one_out", "posterior"]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_fused_head_equals_the_plain_one(process, weighting, parameterisation, seed):
    """Value and gradients of features, weight and bias, in float64."""
    process = Process(process.num_codes, process.schedule, process.steps, parameterisation)
    check_fused(process, Objective(0.7, 0.4, weighting), seed)


@given(st.integers(2, 5).flatmap(lambda k: st.tuples(st.just(k), schedules(k))), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_fused_head_equals_the_plain_one_in_continuous_time(drawn, seed):
    check_fused(Process(*drawn, 0), Objective(1.0, 0.1), seed)


@pytest.mark.parametrize(
    ("share", "objective"),
    [
        (0.0, Objective(0.0, 1.0, auxiliary_on="masked", label_smoothing=0.1)),
        (0.3, Objective(0.5, 1.0, label_smoothing=0.1)),
        (0.3, Objective(0.5, 1.0, auxiliary_on="masked")),
    ],
)
def test_fused_head_smooths_labels_as_the_plain_one(share, objective):
    check_fused(Process(5, ConstantShare("cosine", share), 0), objective, 3)


def check_fused(process: Process, objective: Objective, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    k, shape = process.num_codes, (3, 7)
    hidden = torch.randn(*shape, 6, generator=generator, dtype=torch.float64)
    head = [
        torch.randn(k, 6, generator=generator, dtype=torch.float64),
        torch.randn(k, generator=generator, dtype=torch.float64),
    ]
    x_0 = torch.randint(k, shape, generator=generator)
    t = low_discrepancy_times(torch.rand((), generator=generator), 3, process.steps).clamp(1e-3, 1 - 1e-6)
    t = (t * process.steps).round().clamp_min(1) / process.steps if process.steps else t
    x_t = process.corrupt(x_0, t, torch.rand(*shape, 3, generator=generator, dtype=torch.float64))
    leaves = [[p.clone().requires_grad_() for p in (hidden, *head)] for _ in range(2)]
    terms = bound_terms(process, F.linear(*leaves[0]), x_0, x_t, t, objective.label_smoothing)
    slow = diffusion_loss(process, objective, terms, x_0, x_t, t)
    fast, fused_terms = fused_loss(process, objective, *leaves[1], x_0, x_t, t)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    if not process.schedule.absorbing:
        torch.testing.assert_close(fused_terms.bound, terms.bound.detach(), rtol=1e-10, atol=1e-10)
        assert torch.equal(fused_terms.correct, terms.correct)
    (2 * slow).backward()
    (2 * fast).backward()
    for a, b in zip(*leaves, strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-7, atol=1e-9)


def test_fused_head_of_an_absorbing_process_looks_at_masks_only():
    process, objective = Process(50, ConstantShare("linear", 0.0), 0), Objective(1.0)
    hidden = torch.randn(2, 9, 8)
    x_0 = torch.randint(50, (2, 9))
    t = torch.tensor([0.3, 0.7], dtype=torch.float64)
    x_t = process.corrupt(x_0, t, torch.rand(2, 9, 3, dtype=torch.float64))
    hidden[~process.is_masked(x_t)] = torch.nan
    hidden.requires_grad_()
    loss, terms = fused_loss(process, objective, hidden, torch.randn(50, 8), torch.zeros(50), x_0, x_t, t)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(hidden.grad).all()
    assert terms.correct[~process.is_masked(x_t)].all()


def test_an_autocast_head_is_near_the_float32_one():
    process, objective = Process(300, ConstantShare("linear", 0.1), 1000), Objective(0.2, 1.0)
    hidden, weight, bias = torch.randn(2, 40, 64), torch.randn(300, 64) / 8, torch.zeros(300)
    x_0 = torch.randint(300, (2, 40))
    t = torch.tensor([0.3, 0.7], dtype=torch.float64)
    x_t = process.corrupt(x_0, t, torch.rand(2, 40, 3, dtype=torch.float64))
    leaves = [p.requires_grad_() for p in (hidden, weight, bias)]
    exact = torch.autograd.grad(fused_loss(process, objective, *leaves, x_0, x_t, t)[0], leaves)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = fused_loss(process, objective, *leaves, x_0, x_t, t)
    for a, b in zip(torch.autograd.grad(loss, leaves), exact, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).norm() < 0.03 * b.norm()
