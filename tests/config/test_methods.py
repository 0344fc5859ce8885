"""The configurations of named methods: their settings give what the papers write, here written out from the papers' own formulas."""

from __future__ import annotations

import dataclasses
import functools
import math

import pytest
import torch
from helpers.methods import FOLDER, NAMES, load, method, random_logits, times
from helpers.textbook import (
    K,
    absorbing_chain,
    bayes,
    cosine_chain,
    hybrid_chain,
    information,
    kl,
    mask_and_replace_chain,
    one_hot,
    step_matrix,
    surprise,
    with_mask,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.diffusion import ConstantShare, Process, bound_terms, diffusion_loss, low_discrepancy_times

CLOSE = {"rtol": 1e-8, "atol": 1e-9}
seeds = st.integers(0, 999)
instants = st.floats(0.01, 0.99)
places = st.floats(0, 1)  # along the steps of a process


def step_at(place: float, first: int, last: int) -> int:
    return first + round(place * (last - first))


def every_pair(seed: int, tokens: int = K + 1) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (1, N, K), x_0 and x_t (1, N): every clean code with every noisy token, each with a prediction of its own."""
    pairs = torch.cartesian_prod(torch.arange(K), torch.arange(tokens))
    return random_logits(1, len(pairs), K, seed=seed), pairs[None, :, 0], pairs[None, :, 1]


CHAINS = {  # chain, λ of the cross-entropy
    "d3pm_uniform": (cosine_chain, 0.0),
    "multinomial_diffusion": (cosine_chain, 0.0),
    "d3pm_absorbing": (absorbing_chain, 0.01),
    "d3pm_hybrid": (hybrid_chain, 0.01),
}


@functools.cache
def dense(name: str):
    """Q_t and their products at all steps of a configuration."""
    build = mask_and_replace_chain if name == "vq_diffusion" else CHAINS[name][0]
    return build(load(name).process.steps)


def possible(pairs: tuple[Tensor, Tensor, Tensor], q_bar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those of :func:`every_pair` that occur."""
    logits, x_0, x_t = pairs
    seen = q_bar[x_0, x_t] > 0
    return logits[seen][None], x_0[seen][None], x_t[seen][None]


def test_there_is_a_configuration_a_method():
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_configurations_open_with_their_command_and_fit_their_process(name):
    first, *rest = (FOLDER / f"{name}.yaml").read_text().splitlines()
    assert first == f"# d3pm-image train-diffusion --config configs/methods/{name}.yaml"
    assert rest[0].startswith("# ") and any(
        year in rest[0] + rest[1] for year in ("2019", "2021", "2022", "2024", "2025")
    )
    run = load(name)
    assert (run.tokenizer, run.out) == ("pixels:17", f"runs/methods/{name}")
    process, objective = method(name)
    objective.check(process)
    assert process.ends_in_noise() == (name != "bert")


@pytest.mark.parametrize("name", CHAINS)
@given(place=places, seed=seeds)
@example(place=0, seed=0)
@example(place=1, seed=1)
@settings(max_examples=12, deadline=None)
def test_discrete_losses_are_those_of_textbook_posteriors(name, place, seed):
    """p(x_s | x_t) ∝ Σ q(x_s, x_t | x̃_0) p(x̃_0 | x_t) (Austin et al. 2021, eq. 4), T times the KL from q(x_s | x_t, x_0) to it (at t = 1
    -log p(x_0 | x_1)), and λ times -log of the clean code's own posterior ∝ x̂ q(x_t | x_0); for every x_0 and x_t, then their mean."""
    (q, q_bar), (process, objective) = dense(name), method(name)
    step = step_at(place, 1, process.steps)
    logits, x_0, x_t = possible(every_pair(seed), q_bar[step])
    model = bayes(with_mask(logits.softmax(-1)), x_t, q[step], q_bar[step - 1])
    true = bayes(one_hot(x_0), x_t, q[step], q_bar[step - 1])
    expected = process.steps * (kl(true, model) if step > 1 else surprise(model, x_0))
    t = times(step / process.steps)
    terms = bound_terms(process, logits, x_0, x_t, t)
    torch.testing.assert_close(terms.bound, expected, **CLOSE)
    loss = (expected + CHAINS[name][1] * surprise(logits.softmax(-1) * q_bar[step][:K].T[x_t], x_0)).mean()
    torch.testing.assert_close(diffusion_loss(process, objective, terms, x_0, x_t, t), loss, **CLOSE)


@pytest.mark.parametrize("name", ["d3pm_uniform", "multinomial_diffusion"])
@given(place=places, seed=seeds)
@example(place=0, seed=0)
@example(place=1, seed=1)
@settings(max_examples=12, deadline=None)
def test_uniform_bounds_are_multinomial_diffusion_s(name, place, seed):
    """θ_post(x_t, x_0) ∝ (α_t x_t + (1-α_t)/K) ⊙ (ᾱ_{t-1} x_0 + (1-ᾱ_{t-1})/K), and KL(θ_post(x_t, x_0) ‖ θ_post(x_t, x̂_0))."""
    process, _ = method(name)
    count = process.steps
    step = step_at(place, 2, count)
    f = [max(0.0, math.cos((t / count + 0.008) / 1.008 * math.pi / 2)) for t in (0, step - 1, step)]
    before, alpha = f[1] / f[0], f[2] / f[1]
    logits, x_0, x_t = every_pair(seed, K)

    def theta_post(clean: Tensor) -> Tensor:
        theta = (alpha * F.one_hot(x_t, K).double() + (1 - alpha) / K) * (before * clean + (1 - before) / K)
        return theta / theta.sum(-1, keepdim=True)

    expected = kl(theta_post(F.one_hot(x_0, K).double()), theta_post(logits.softmax(-1)))
    found = bound_terms(process, logits, x_0, x_t, times(step / count)).bound
    torch.testing.assert_close(found, count * expected, **CLOSE)


def test_uniform_methods_differ_in_their_steps_alone():
    d3pm, multinomial = load("d3pm_uniform"), load("multinomial_diffusion")
    assert d3pm.process.steps == 1000 and multinomial.process.steps == 4000
    assert d3pm.loss == multinomial.loss
    assert dataclasses.replace(multinomial.process, steps=1000) == d3pm.process


@given(st.integers(1, 1000), seeds)
@example(1, 0)
@example(1000, 1)
@settings(max_examples=20, deadline=None)
def test_absorbing_loss_is_cross_entropy_at_masks_by_t(step, seed):
    """T (a_s - a_t)/(1 - a_t) = T/t and λ = 0.01 at masks, nothing elsewhere; mean over tokens."""
    process, objective = method("d3pm_absorbing")
    logits, x_0, _ = every_pair(seed)
    x_t = torch.where(torch.arange(x_0.shape[1])[None] % 3 > 0, K, x_0)
    t = times(step / 1000)
    at_masks = surprise(logits.softmax(-1), x_0) * (x_t == K)
    found = diffusion_loss(process, objective, bound_terms(process, logits, x_0, x_t, t), x_0, x_t, t)
    torch.testing.assert_close(found, ((1000 / step + 0.01) * at_masks).mean(), **CLOSE)


@pytest.mark.parametrize("name, share", [("d3pm_absorbing", 0.0), ("d3pm_hybrid", 0.1)])
def test_information_falls_linearly(name, share):
    """Of uniformly used codes, from the dense joint distribution of x_0 and x_t (D3PM, section 3.2)."""
    process, _ = method(name)
    t = times(0.001, 0.2, 0.5, 0.9, 0.999)
    g, kappa = process.schedule.survival(t)
    torch.testing.assert_close(1 - g, (1 - share) * (1 - g * kappa), rtol=1e-12, atol=0)
    torch.testing.assert_close(information(1 - g * kappa, share), (1 - t) * math.log(K), rtol=0, atol=1e-12)


@given(instants, seeds)
@settings(max_examples=30, deadline=None)
def test_md4_loss_is_its_weighted_cross_entropy(t, seed):
    """-α'/(1-α) at masks with α = 1 - cos(π(1-t)/2) (Shi et al. 2024), nothing elsewhere."""
    process, objective = method("md4")
    logits, x_0, _ = every_pair(seed)
    x_t = torch.where(torch.arange(x_0.shape[1])[None] % 3 > 0, K, x_0)
    angle = math.pi / 2 * (1 - t)
    alpha, slope = 1 - math.cos(angle), -math.pi / 2 * math.sin(angle)
    expected = (
        -slope / (1 - alpha) * F.cross_entropy(logits.transpose(1, 2), x_0, reduction="none") * (x_t == K)
    )
    terms = bound_terms(process, logits, x_0, x_t, times(t))
    torch.testing.assert_close(terms.bound, expected, **CLOSE)
    torch.testing.assert_close(
        diffusion_loss(process, objective, terms, x_0, x_t, times(t)), expected.mean(), **CLOSE
    )


@given(instants, seeds)
@settings(max_examples=30, deadline=None)
def test_udlm_loss_is_its_integrand(t, seed):
    """(α'/(Kα)) [K/x̄_i - K/(x̄_θ)_i - Σ_j (x̄_j/x̄_i) log((x̄_θ)_i x̄_j / ((x̄_θ)_j x̄_i))], x̄ = Kα x + 1 - α, i the code of z_t
    (Schiff et al. 2024), for every pair, α = 1 - t."""
    process, objective = method("udlm")
    logits, x_0, z_t = every_pair(seed, K)
    alpha, slope = 1 - t, -1.0
    bar = K * alpha * F.one_hot(x_0, K).double() + 1 - alpha
    bar_theta = K * alpha * logits.softmax(-1) + 1 - alpha
    at, at_theta = (value.gather(-1, z_t[..., None]) for value in (bar, bar_theta))
    inside = (
        K / at - K / at_theta - (bar / at * (at_theta * bar / (bar_theta * at)).log()).sum(-1, keepdim=True)
    )
    expected = slope / (K * alpha) * inside[..., 0]
    terms = bound_terms(process, logits, x_0, z_t, times(t))
    torch.testing.assert_close(terms.bound, expected, **CLOSE)
    torch.testing.assert_close(
        diffusion_loss(process, objective, terms, x_0, z_t, times(t)), expected.mean(), **CLOSE
    )


@given(st.integers(1, 100), seeds)
@example(1, 0)
@example(100, 1)
@settings(max_examples=30, deadline=None)
def test_vq_diffusion_bound_is_the_kl_to_the_posterior_averaged_over_predictions(step, seed):
    """p(x_{t-1} | x_t) = Σ q(x_{t-1} | x_t, x̃_0) p(x̃_0 | x_t) (Gu et al. 2022); L_0 is -log p(x_0 | x_1); λ adds -log p(x_0 | x_t)."""
    (q, q_bar), (process, objective) = dense("vq_diffusion"), method("vq_diffusion")
    logits, x_0, x_t = every_pair(seed)
    pi = logits.softmax(-1)
    model = sum(
        pi[..., j, None] * bayes(one_hot(torch.full_like(x_0, j)), x_t, q[step], q_bar[step - 1])
        for j in range(K)
    )
    entropy = surprise(pi, x_0)
    bound = 100 * (kl(bayes(one_hot(x_0), x_t, q[step], q_bar[step - 1]), model) if step > 1 else entropy)
    t = times(step / 100)
    terms = bound_terms(process, logits, x_0, x_t, t)
    torch.testing.assert_close(terms.bound, bound, **CLOSE)
    torch.testing.assert_close(terms.auxiliary, entropy, **CLOSE)
    torch.testing.assert_close(
        diffusion_loss(process, objective, terms, x_0, x_t, t), (bound + 5e-4 * entropy).mean(), **CLOSE
    )


def test_vq_diffusion_shares_run_between_the_released_end_points():
    """ᾱ from 0.99999 at the first step to 0.000009 at the last, linear between; a tenth of the rest is random."""
    process, _ = method("vq_diffusion")
    g, kappa = process.schedule.survival(torch.arange(1, 101, dtype=torch.float64) / 100)
    torch.testing.assert_close(
        g * kappa, torch.linspace(0.99999, 0.000009, 100, dtype=torch.float64), rtol=0, atol=1e-14
    )
    torch.testing.assert_close(g * (1 - kappa), 0.1 * (1 - g * kappa), rtol=0, atol=1e-14)


def gidd_marginal(t: float) -> tuple[float, Tensor]:
    """α_t and the mixing mass β_t π_t (K+1,): (1-t)/C, (t m + c u)/C, C = 1 + c, c = B √(t(1-t)), B = 2 p/(1-p) (von Rütte et al. 2025)."""
    p = 0.1
    c = 2 * p / (1 - p) * math.sqrt(t * (1 - t))
    return (1 - t) / (1 + c), times(*[c / K] * K, t) / (1 + c)


def gidd_rates(t: float) -> tuple[float, Tensor]:
    """α'/α and (β_t π_t)', by automatic differentiation of the same."""
    time = torch.tensor(t, dtype=torch.float64, requires_grad=True)
    c = 0.2 / 0.9 * (time * (1 - time)).sqrt()
    log_alpha, scrambled, masked = ((1 - time) / (1 + c)).log(), c / K / (1 + c), time / (1 + c)
    slopes = [
        float(torch.autograd.grad(value, time, retain_graph=True)[0])
        for value in (log_alpha, scrambled, masked)
    ]
    return slopes[0], times(*[slopes[1]] * K, slopes[2])


@given(instants)
@settings(max_examples=20, deadline=None)
def test_gidd_marginals_are_its_own(t):
    process, _ = method("gidd")
    g, kappa = (float(value) for value in process.schedule.survival(times(t)))
    alpha, mass = gidd_marginal(t)
    assert g * kappa == pytest.approx(alpha, abs=1e-14)
    torch.testing.assert_close(times(*[g * (1 - kappa) / K] * K, 1 - g), mass, rtol=0, atol=1e-14)
    assert t != 0.5 or g * (1 - kappa) == pytest.approx(0.1, abs=1e-14)


@given(instants, seeds)
@settings(max_examples=40, deadline=None)
def test_gidd_elbo_has_the_same_expectation(t, seed):
    """E over z of w_t(z, x) [KL(q_t(·|x) ‖ q_t(·|x_θ)) + IS(q_t(z|x) ‖ q_t(z|x_θ))], w = (βπ)' - (α'/α) βπ at z by q_t(z|x)
    (its ELBO), for a prediction that does not look at z."""
    process, _ = method("gidd")
    (alpha, mass), (log_slope, mass_slope) = gidd_marginal(t), gidd_rates(t)
    x_theta = random_logits(K, seed=seed)
    x_0 = torch.arange(K)
    q = alpha * one_hot(x_0) + mass  # (K, K+1), rows x_0
    q_theta = alpha * with_mask(x_theta.softmax(-1)) + mass
    ratio = q / q_theta
    weight = (mass_slope - log_slope * mass) / q
    expected = (q * weight * (kl(q, q_theta.expand_as(q))[:, None] + ratio - ratio.log() - 1)).sum(-1)
    pairs = torch.cartesian_prod(x_0, torch.arange(K + 1))
    ours = bound_terms(
        process, x_theta.expand(1, len(pairs), K), pairs[None, :, 0], pairs[None, :, 1], times(t)
    ).bound
    torch.testing.assert_close((q * ours.view(K, K + 1)).sum(-1), expected, rtol=1e-8, atol=1e-10)


@given(instants, seeds)
@settings(max_examples=20, deadline=None)
def test_gidd_loss_has_its_dynamic_weights(t, seed):
    """w_max (1 + δ_{z,m} + (q(z=x)-part - 1) δ_{z,x}): 2 · KL at masks, 1 · (KL + IS) at replaced tokens, (B/K)√(t/(1-t)) by
    1 + (B/K)√(t/(1-t)) at kept ones, with KL and IS of the scrambled parts κ x + (1-κ)/K of marginals."""
    process, objective = method("gidd")
    logits, x_0, z = every_pair(seed)
    alpha, mass = gidd_marginal(t)
    unmasked = 1 - float(mass[K])
    q, q_theta = (
        ((alpha * x + mass[:K]) / unmasked) for x in (F.one_hot(x_0, K).double(), logits.softmax(-1))
    )
    own = torch.where(z == K, x_0, z)[..., None]
    ratio = (q / q_theta).gather(-1, own)[..., 0]
    odds = 0.2 / 0.9 / K * math.sqrt(t / (1 - t))
    weight = torch.where(z == K, times(2), torch.where(z == x_0, times(odds / (1 + odds)), times(1)))
    divergence = kl(q, q_theta) + torch.where(z == K, 0.0, ratio - ratio.log() - 1)
    found = diffusion_loss(
        process, objective, bound_terms(process, logits, x_0, z, times(t)), x_0, z, times(t)
    )
    torch.testing.assert_close(found, (weight * divergence).mean(), rtol=1e-8, atol=1e-10)


def test_maskgit_mask_rates_have_the_density_of_its_cosine():
    """m = cos(πr/2) at uniform r has density 2/(π√(1-m²)), distribution function (2/π) arcsin m; and tokens are masked at that rate."""
    process, _ = method("maskgit")
    count = 20_000
    t = low_discrepancy_times(torch.tensor(0.4), count)
    rates = (1 - process.schedule.survival(t)[0]).sort().values
    exact = 2 / math.pi * torch.arcsin(rates)
    empirical = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    assert float((exact - empirical).abs().max()) < 1.01 / count
    density = torch.histc(rates, 20, 0, 0.95) / count / 0.0475
    middles = 0.0475 * (torch.arange(20, dtype=torch.float64) + 0.5)
    torch.testing.assert_close(density, 2 / (math.pi * (1 - middles**2).sqrt()), rtol=0.02, atol=0)

    draws = torch.rand(1, count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    masked = process.is_masked(process.corrupt(torch.zeros(1, count, dtype=torch.long), times(2 / 3), draws))
    assert float(masked.double().mean()) == pytest.approx(
        math.cos(math.pi / 2 * (1 / 3)), abs=4 * 0.5 / math.sqrt(count)
    )


@given(instants, seeds)
@settings(max_examples=20, deadline=None)
def test_maskgit_loss_is_smoothed_cross_entropy_at_masks_an_image(t, seed):
    process, objective = method("maskgit")
    generator = torch.Generator().manual_seed(seed)
    x_0, logits = torch.randint(K, (4, 9), generator=generator), random_logits(4, 9, K, seed=seed)
    hidden = torch.rand(4, 9, generator=generator) < torch.tensor([[0.1], [0.5], [0.8], [1.0]])
    hidden[:, 0] = True
    x_t = torch.where(hidden, K, x_0)
    each = [F.cross_entropy(logits[b, hidden[b]], x_0[b, hidden[b]], label_smoothing=0.1) for b in range(4)]
    when = times(t, 0.2, 0.5, 1.0)
    terms = bound_terms(process, logits, x_0, x_t, when, objective.label_smoothing)
    torch.testing.assert_close(
        diffusion_loss(process, objective, terms, x_0, x_t, when), torch.stack(each).mean(), **CLOSE
    )


# BERT (Devlin et al. 2019, section 3.1): 15 % chosen; of these 80 % [MASK], 10 % a random token, 10 % unchanged.


@pytest.mark.parametrize("share, end", [(1 / 9, 0.135), (1 / 3, 0.15), (0.0, 0.4), (0.5, 1.0)])
def test_one_step_bounds_are_the_cross_entropy_at_every_token(share, end):
    """T = 1: the bound without L_T is -log p(x_0 | x_1) everywhere (Austin et al. 2021: BERT is a one-step diffusion)."""
    process = Process(K, ConstantShare("linear", share, end=end), 1)
    q = step_matrix(1 - end, share * end, (1 - share) * end)
    logits, x_0, x_t = possible(every_pair(3), q)
    expected = surprise(logits.softmax(-1) * q[:K].T[x_t], x_0)
    terms = bound_terms(process, logits, x_0, x_t, times(1.0))
    torch.testing.assert_close(terms.bound, expected, **CLOSE)
    torch.testing.assert_close(terms.auxiliary, expected, **CLOSE)
