"""Random codes that move by a kernel, against dense matrices in float64; smaller ones take part in the laws of all processes
(test_diffusion.py, test_toy.py, and the samplers' in test_rules.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import reference
from helpers.samplers import drawn, toy, variation
from helpers.strategies import from_settings, kernel
from helpers.tensors import f64

from d3pm_image.config import ConfigError, DiffusionLossConfig, DiffusionRun, ProcessConfig
from d3pm_image.diffusion import (
    ConstantShare,
    Independent,
    Kernel,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    fused_loss,
    low_discrepancy_times,
    posterior,
    reverse_leave_one_out,
)
from d3pm_image.diffusion.kernel import FLOOR, draw_moves, information_left

KINDS = ["gaussian", "nearest"]
both = pytest.mark.parametrize("kind", KINDS)


def colours(count: int = 256) -> np.ndarray:
    """Colours in clusters, as palettes have them, some far from all others."""
    generator = torch.Generator().manual_seed(3)
    centres = torch.rand(12, 4, generator=generator)
    spread = 0.03 * torch.randn(count, 4, generator=generator)
    return (centres[torch.randint(12, (count,), generator=generator)] + spread).clamp(0, 1).numpy()


@both
def test_256_colours_agree_with_the_dense_matrices(kind):
    """Rates, moves, their composition, the posterior and the bound of a palette, to 1e-10."""
    process = Process(256, ConstantShare("cosine", 0.4), 1000, kernel=Kernel.of(kind, colours(), 8))
    rates = torch.from_numpy(process.kernel.generator)
    assert torch.equal(rates, rates.T) and float(rates.sum(1).abs().max()) < 1e-14
    assert -float(rates.diagonal().mean()) == pytest.approx(255 / 256)
    ends = [(0.0, 0.25), (0.25, 0.251), (0.251, 0.9), (0.0, 0.001), (0.9, 1.0)]
    for s, t in ends:
        (g_s, kappa_s), (g_t, kappa_t) = (process.schedule.survival(f64(time)) for time in (s, t))
        dense = reference.transition(process, s, t)[:256, :256] * g_s / g_t.clamp_min(1e-300)
        if t < 1:
            assert float((process.kernel.moves(kappa_s, kappa_t)[0] - dense).abs().max()) < 1e-10
    first, second = (process.kernel.moves(f64(a), f64(b))[0] for a, b in ((0.9, 0.5), (0.5, 0.03)))
    assert float((first @ second - process.kernel.moves(f64(0.9), f64(0.03))[0]).abs().max()) < 1e-12

    x_0, x_t = torch.tensor([[7, 200, 31]]), torch.tensor([[256, 200, 18]])
    found = posterior(process, x_0, x_t, f64(0.3), f64(0.299))[0]
    logits = 2 * torch.randn(1, 3, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    guess = reverse_leave_one_out(process, logits.softmax(-1), x_t, f64(0.3), f64(0.299))[0]
    terms = bound_terms(process, logits, x_0, x_t, f64(0.3))
    for n in range(3):
        truth = reference.posterior(process, int(x_0[0, n]), int(x_t[0, n]), 0.299, 0.3)
        model = reference.reverse_loo(process, logits[0, n].softmax(-1), int(x_t[0, n]), 0.299, 0.3)
        assert float((found[n] - truth).abs().max()) < 1e-10
        assert float((guess[n] - model).abs().max()) < 1e-10
        assert float(terms.bound[0, n]) / 1000 == pytest.approx(reference.kl(truth, model), abs=1e-10)


@both
def test_noise_is_uniform_at_the_end_and_the_prior_costs_nothing(kind):
    process = Process(256, ConstantShare("linear", 1.0), 0, kernel=Kernel.of(kind, colours(), 8))
    moves = process.kernel.moves(f64(1.0), f64(0.0))
    torch.testing.assert_close(moves, torch.full_like(moves, 1 / 256), atol=1e-12, rtol=0)
    assert process.ends_in_noise() and float(process.prior_kl()) == pytest.approx(0, abs=1e-10)
    cut = Process(4, ConstantShare("linear", 1.0, end=0.7), 0, kernel=kernel(4, kind))
    assert not cut.ends_in_noise() and float(cut.prior_kl()) > 0.01


def test_even_rates_are_the_uniform_kernel():
    """Moves, and both bounds, as κ itself gives them."""
    even = Kernel.from_weights(np.ones((6, 6)))
    kappa = f64(1.0, 0.999, 0.6, 0.1, 1e-5)
    moves = even.moves(torch.ones(5, dtype=torch.float64), kappa)
    expected = kappa[:, None, None] * torch.eye(6) + (1 - kappa[:, None, None]) / 6
    torch.testing.assert_close(moves, expected, atol=1e-6, rtol=0)
    generator = torch.Generator().manual_seed(0)
    for steps in (10, 0):
        uniform = Process(6, ConstantShare("linear", 0.5), steps)
        process = Process(6, ConstantShare("linear", 0.5), steps, kernel=even)
        t = f64(0.1, 0.3, 0.8, 1.0)
        x_0 = torch.randint(6, (4, 50), generator=generator)
        x_t = uniform.corrupt(x_0, t, torch.rand(4, 50, 3, generator=generator, dtype=torch.float64))
        logits = torch.randn(4, 50, 6, generator=generator, dtype=torch.float64)
        ours, theirs = (bound_terms(p, logits, x_0, x_t, t, 0.1) for p in (process, uniform))
        torch.testing.assert_close(ours.bound, theirs.bound, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.auxiliary, theirs.auxiliary, rtol=1e-5, atol=1e-6)
        assert torch.equal(ours.correct, theirs.correct)


@both
def test_the_clock_takes_as_much_information_as_the_uniform_kernel(kind):
    """So D3PM's mutual-information schedule loses it evenly with any kernel."""
    codes = Kernel.of(kind, colours(64), 8)
    process = Process(
        64, from_settings(64, corruption="mutual_information", uniform_share=1.0).schedule, 0, kernel=codes
    )
    for t in (0.05, 0.3, 0.6, 0.95):
        kappa = process.schedule.survival(f64(t))[1]
        moves = codes.moves(f64(1.0), kappa)[0]
        left = float(torch.xlogy(moves, moves).sum() / 64 + math.log(64))
        assert left == pytest.approx(float(information_left(kappa.numpy(), 64)[0]), rel=0.02, abs=0.01)
        assert left / math.log(64) == pytest.approx(1 - t, abs=0.01)


def test_near_codes_come_first():
    """On a line of grey levels, a little noise moves to the next ones; nearest reaches no further at once."""
    line = np.arange(32.0)[:, None]
    for kind in KINDS:
        codes = Kernel.of(kind, line, 2)
        moved = codes.moves(f64(1.0), f64(0.97))[0]
        assert (moved[16, 9:16].diff() > 0).all() and float(moved[16, 15]) > 20 * float(moved[16, 4])
    reached = np.abs(codes.generator[16] - FLOOR / 32) > 1e-12
    assert reached.nonzero()[0].tolist() == [15, 16, 17]


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_corruption_draws_the_dense_marginals(share):
    process = Process(5, ConstantShare("linear", share), 10, kernel=kernel(5, "gaussian"))
    n, generator = 200_000, torch.Generator().manual_seed(0)
    draws = torch.rand(2, n, 3, dtype=torch.float64, generator=generator)
    start = torch.tensor([[2], [5]]).expand(2, n)
    x_t = process.jump(start, f64(0.2, 0.2), f64(0.7, 0.7), draws)
    for row, code in enumerate((2, 5)):
        seen = torch.bincount(x_t[row], minlength=6).double() / n
        assert (seen - reference.transition(process, 0.2, 0.7)[code]).abs().max() < 5 * 0.5 / math.sqrt(n)


def test_draws_find_their_place_at_both_ends_of_a_row():
    moves = torch.tensor([[[0.0, 0.25, 0.75], [1.0, 0.0, 0.0], [0.5, 0.0, 0.5]]] * 2, dtype=torch.float64)
    codes = torch.tensor([[0, 0, 0, 1, 2, 2], [2, 1, 0, 0, 1, 2]])
    uniforms = torch.tensor([[0.0, 0.2, 0.9999999, 0.9999999, 0.49, 0.5], [0.1, 0.0, 0.3, 0.1, 0.6, 0.7]])
    assert draw_moves(moves, codes, uniforms.double()).tolist() == [[1, 1, 2, 0, 0, 2], [0, 0, 2, 1, 0, 2]]


@both
@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("t", [0.07, 0.5, 0.93])
def test_the_continuous_bound_is_the_limit_of_the_discrete_one(kind, share, t):
    limit, fine = (
        Process(4, ConstantShare("cosine", share), steps, kernel=kernel(4, kind)) for steps in (0, 100_000)
    )
    x_0, x_t = torch.cartesian_prod(torch.arange(4), torch.arange(5 if share < 1 else 4)).T[:, :, None]
    logits = torch.randn(len(x_0), 1, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    args = (logits, x_0, x_t, f64(t).expand(len(x_0)))
    ours, theirs = bound_terms(limit, *args).bound, bound_terms(fine, *args).bound
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-3)


@both
@pytest.mark.parametrize("steps", [0, 1000])
@pytest.mark.parametrize(
    "schedule",
    [ConstantShare("linear", 0.1), ConstantShare("cosine", 1.0), Independent("linear", "cosine")],
    ids=str,
)
def test_gradients_are_finite_everywhere(kind, steps, schedule):
    """Sure and wrong networks at every noise level, in float32."""
    process = Process(64, schedule, steps, kernel=Kernel.of(kind, colours(64), 4))
    logits = (30 * torch.randn(32, 20, 64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    x_0 = torch.randint(64, (32, 20), generator=torch.Generator().manual_seed(1))
    t = low_discrepancy_times(torch.tensor(0.3), 32, steps)
    t[0] = 1.0
    draws = torch.rand(32, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x_t = process.corrupt(x_0, t, draws)
    terms = bound_terms(process, logits, x_0, x_t, t, 0.1)
    diffusion_loss(process, Objective(1.0, 0.5), terms, x_0, x_t, t).backward()
    assert torch.isfinite(terms.bound).all() and float(terms.bound.detach().min()) > -1e-3
    assert torch.isfinite(logits.grad).all() and float(logits.grad.abs().sum()) > 0


@both
def test_float32_agrees_with_float64(kind):
    process = Process(256, ConstantShare("cosine", 0.5), 1000, kernel=Kernel.of(kind, colours(), 8))
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 32, 256, dtype=torch.float64, generator=generator)
    x_0 = torch.randint(256, (4, 32), generator=generator)
    t = f64(0.001, 0.1, 0.6, 1.0)
    x_t = process.corrupt(x_0, t, torch.rand(4, 32, 3, dtype=torch.float64, generator=generator))
    exact, fast = (bound_terms(process, z, x_0, x_t, t) for z in (logits, logits.float()))
    torch.testing.assert_close(fast.bound.double(), exact.bound, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(fast.auxiliary.double(), exact.auxiliary, rtol=1e-4, atol=1e-5)


EXACT_SAMPLERS = [
    {"sampler": "ancestral"}, {"sampler": "purity", "gumbel": 1e6}, {"sampler": "renoise", "eta": 1.0},
    {"sampler": "remask", "eta": 0.05}, {"sampler": "predictor_corrector", "eta": 1.0},
]  # fmt: skip


@pytest.mark.parametrize("settings", EXACT_SAMPLERS, ids=str)
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_exact_samplers_draw_the_joint_distribution(settings, share):
    """Three tokens of three codes under the optimal denoiser."""
    if share == 1 and settings["sampler"] in ("purity", "remask"):
        return
    data, process, denoiser = toy(share, kernel=kernel(3, "nearest", neighbours=1))
    few = variation(drawn(process, denoiser, 10_000, steps=2, **settings), data)
    many = variation(drawn(process, denoiser, 10_000, steps=48, **settings), data)
    assert many < 0.035 and few > 1.5 * many


def test_what_the_kernels_do_not_do_is_refused():
    process = Process(4, ConstantShare("linear", 0.5), 10, kernel=kernel(4, "nearest"))
    with pytest.raises(ConfigError, match=r"^sampler='ctmc'.*ancestral"):
        drawn(process, lambda *_: None, 2, sampler="ctmc", steps=2)
    for objective, field in (
        (Objective(weighting="clipped"), "weighting"),
        (Objective(auxiliary_on="bert"), "auxiliary_on"),
    ):
        with pytest.raises(ConfigError, match=rf"^loss.{field}="):
            objective.check(process)
    with pytest.raises(ConfigError, match=r"^loss.fused="):
        fused_loss(process, Objective(), *[torch.zeros(1)] * 6)
    with pytest.raises(ConfigError, match=r"^process.parameterisation='posterior'"):
        Process(4, ConstantShare("linear", 0.5), 10, "posterior", kernel(4, "nearest"))


@pytest.mark.parametrize(
    "settings, field",
    [
        ({"kernel": "cubic"}, "kernel"), ({"kernel": "nearest", "neighbours": 0}, "neighbours"), ({"neighbours": 4}, "neighbours"),
        ({"kernel": "gaussian", "uniform_share": 0.0}, "kernel"), ({"kernel": "gaussian", "parameterisation": "posterior"}, "parameterisation"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(settings, field):
    with pytest.raises(ConfigError, match=rf"^process.{field}="):
        ProcessConfig(**settings)


def test_a_run_refuses_the_fused_loss_and_a_process_too_many_codes():
    with pytest.raises(ConfigError, match=r"^loss.fused=True"):
        DiffusionRun(process=ProcessConfig(kernel="nearest"), loss=DiffusionLossConfig(fused=True))
    with pytest.raises(ConfigError, match=r"^process.kernel='nearest'.*513"):
        Process.from_config(ProcessConfig(kernel="nearest"), 513)
    with pytest.raises(ConfigError, match=r"^process.kernel='gaussian'.*same"):
        Process.from_config(ProcessConfig(kernel="gaussian"), 4, lambda: torch.ones(4, 3))
