"""Schedules: the laws of each, against the papers' own formulas."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.strategies import PLAIN, SHARES, from_settings, processes
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.config import ConfigError, ProcessConfig
from d3pm_image.diffusion import ConstantShare, Curve, Gidd, Independent, MutualInformation, Process

T = torch.linspace(0, 1, 201, dtype=torch.float64)


@pytest.mark.parametrize(
    "curve",
    [
        *(Curve(name) for name in PLAIN),
        Curve("polynomial", 0.5),
        Curve("polynomial", 3.0),
        Curve("vq_diffusion", steps=100),
    ],
)
def test_inverse_undoes_the_curve(curve):
    t = T if curve.name != "vq_diffusion" else T[1:]
    torch.testing.assert_close(curve.inverse(curve.value(t)), t, atol=1e-7, rtol=0)
    r = curve.value(T)
    torch.testing.assert_close(curve.value(curve.inverse(r)), r, atol=1e-12, rtol=0)


@given(processes(), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_mask_share_is_found_again(process, t):
    g, _ = process.schedule.survival(torch.tensor([t], dtype=torch.float64))
    again, _ = process.schedule.survival(process.schedule.time_of_mask_share(1 - g))
    torch.testing.assert_close(
        again, g if not process.schedule.uniform else torch.ones_like(g), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("curve", PLAIN)
def test_a_constant_share_of_the_corrupted_tokens_is_random(curve, share):
    schedule = ConstantShare(curve, share)
    g, kappa = schedule.survival(T)
    r, _ = schedule.corrupted(T)
    torch.testing.assert_close(g * kappa, 1 - r, atol=1e-14, rtol=0)
    torch.testing.assert_close(g * (1 - kappa), share * r, atol=1e-12, rtol=0)
    torch.testing.assert_close(1 - g, (1 - share) * r, atol=1e-14, rtol=0)


@given(st.integers(2, 50), st.sampled_from([0.05, 0.5, 0.93, 1.0]))
@settings(max_examples=30, deadline=None)
def test_mutual_information_falls_linearly(codes, share):
    """I(x_t; x_0)/H(x_0) = 1 - t, with I summed over the joint distribution of one token."""
    schedule = MutualInformation(uniform_share=share, num_codes=codes)
    g, kappa = schedule.survival(T[1:-1])
    rho = (1 - kappa) / codes
    same, other = g * (kappa + rho), g * rho
    marginal = g / codes
    information = torch.xlogy(same, same / marginal) + (codes - 1) * torch.xlogy(other, other / marginal)
    torch.testing.assert_close(information / math.log(codes), 1 - T[1:-1], atol=1e-10, rtol=0)


def test_mutual_information_of_pure_masking_is_the_rate_one_over_steps_left():
    """β_t = 1/(T-t+1) (D3PM, section 3.2): P(not masked after t steps) = Π (1-β_i)."""
    steps, schedule = 20, MutualInformation(uniform_share=0.0, num_codes=7)
    survives = torch.cumprod(1 - 1 / (steps - torch.arange(1, steps + 1, dtype=torch.float64) + 1), 0)
    g, _ = schedule.survival(torch.arange(1, steps + 1, dtype=torch.float64) / steps)
    torch.testing.assert_close(g, survives, atol=1e-12, rtol=0)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_gidd_has_its_marginals(share):
    """a = (1-t)/C, b = c/C, mask t/C with c = B √(t(1-t)), C = 1 + c and P(random) = share at t = 1/2."""
    g, kappa = Gidd(share).survival(T)
    c = 2 * share / (1 - share) * (T * (1 - T)).sqrt()
    torch.testing.assert_close(g * kappa, (1 - T) / (1 + c), atol=1e-12, rtol=0)
    torch.testing.assert_close(g * (1 - kappa), c / (1 + c), atol=1e-9, rtol=0)
    torch.testing.assert_close(1 - g, T / (1 + c), atol=1e-12, rtol=0)
    assert float((g * (1 - kappa))[100]) == pytest.approx(share)


def test_vq_diffusion_has_its_end_points_and_its_split():
    """ᾱ from 0.99999 to 0.000009 in T steps (Gu et al. 2022, released code); K β̄ a tenth of what is corrupted."""
    steps = 100
    process = from_settings(8, corruption="vq_diffusion", uniform_share=0.1, steps=steps)
    g, kappa = process.schedule.survival(torch.arange(steps + 1, dtype=torch.float64) / steps)
    kept = g * kappa
    expected = torch.cat(
        [torch.ones(1, dtype=torch.float64), torch.linspace(0.99999, 0.000009, steps, dtype=torch.float64)]
    )
    torch.testing.assert_close(kept, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close((g * (1 - kappa))[1:], 0.1 * (1 - kept[1:]), atol=1e-12, rtol=0)


def test_offset_cosine_is_multinomial_diffusions():
    s = 0.008
    f = torch.cos((T + s) / (1 + s) * math.pi / 2)
    torch.testing.assert_close(1 - Curve("offset_cosine").value(T), f / f[0], atol=1e-12, rtol=0)


def test_independent_curves_do_not_touch_each_other():
    schedule = Independent("cosine", "polynomial", 0.7, 2.0)
    g, kappa = schedule.survival(T)
    torch.testing.assert_close(g, 1 - torch.sin(math.pi / 2 * T), atol=1e-14, rtol=0)
    torch.testing.assert_close(kappa, 1 - 0.7 * T.square(), atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    "settings_", [{"corruption": "linear"}, {"corruption": "gidd"}, {"corruption": "linear", "end": 0.135}]
)
def test_processes_know_whether_they_end_in_noise(settings_):
    assert from_settings(**settings_).ends_in_noise() == ("end" not in settings_)


@pytest.mark.parametrize(
    ("settings_", "field"),
    [
        ({"corruption": "sigmoid"}, "process.corruption"),
        ({"corruption": "vq_diffusion", "steps": 0}, "process.steps"),
        ({"corruption": "gidd", "uniform_share": 0.0}, "process.uniform_share"),
        ({"corruption": "gidd", "scramble": "linear"}, "process.scramble"),
        ({"power": 2.0}, "process.power"),
        ({"corruption": "polynomial", "power": 0.0}, "process.power"),
        ({"end": 0.0}, "process.end"),
        ({"corruption": "mutual_information", "end": 0.5}, "process.end"),
        ({"parameterisation": "x0"}, "process.parameterisation"),
        ({"uniform_share": 1.2}, "process.uniform_share"),
    ],
)
def test_impossible_processes_are_refused_by_name(settings_, field):
    with pytest.raises(ConfigError, match=field):
        ProcessConfig(**settings_)


def test_every_schedule_of_the_configuration_can_be_built():
    from typing import get_args

    from d3pm_image.config.diffusion import Corruption, Scramble

    for name in get_args(Corruption):
        assert isinstance(from_settings(corruption=name), Process)
    for name in get_args(Scramble):
        assert isinstance(from_settings(corruption="linear", scramble=name), Process)
