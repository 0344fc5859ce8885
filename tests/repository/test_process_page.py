"""What docs/derivation derives and no other test holds; and that the functions, tests, files and settings its pages name exist."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
import yaml
from helpers import reference
from helpers.paths import ROOT
from helpers.strategies import schedules
from helpers.tensors import f64
from hypothesis import given, settings
from hypothesis import strategies as st

from d3pm_image.config import DiffusionLossConfig, ProcessConfig
from d3pm_image.diffusion import ConstantShare, Objective, Process, bound_terms
from d3pm_image.diffusion.terms import coefficients

PAGES = sorted((ROOT / "docs" / "derivation").glob("*.md"))
CODES = 4
LOGITS = torch.tensor([1.3, -0.4, 0.1, -2.0], dtype=torch.float64)


def blind_cost(process: Process, t: float) -> torch.Tensor:
    """E over x_t of the bound's term for the constant prediction softmax(LOGITS), for each x_0: (K,)."""
    x_0, x_t = torch.cartesian_prod(torch.arange(CODES), torch.arange(CODES + 1)).T[:, None]
    terms = bound_terms(process, LOGITS.expand(*x_0.shape, CODES), x_0, x_t, f64(t)).bound.view(
        CODES, CODES + 1
    )
    likelihood = reference.transition(process, 0, t)[:CODES]
    return torch.where(likelihood > 0, likelihood * terms, 0).sum(-1)


@given(schedules(CODES), st.sampled_from([1, 2, 7, 20]))
@settings(max_examples=25, deadline=None)
def test_a_blind_prediction_costs_its_own_cross_entropy(schedule, steps):
    """The bound of a constant prediction is -log x̂_i exactly, whatever the schedule and the number of steps."""
    process = Process(CODES, schedule, steps)
    if process.ends_in_noise():
        total = (
            process.prior_kl()
            + sum(blind_cost(process, step / steps) for step in range(1, steps + 1)) / steps
        )
        torch.testing.assert_close(total, -LOGITS.log_softmax(0), rtol=1e-9, atol=1e-9)


@given(schedules(CODES), st.floats(0.05, 0.95))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_the_rate_at_which_marginals_part(schedule, t):
    """E[dL/dt] = -d/dt KL(q(x_t | x_0 = i) ‖ q(x_t | x_0 ~ x̂))."""
    process, step = Process(CODES, schedule, 0), 1e-5

    def apart(when: float) -> torch.Tensor:
        q = reference.transition(process, 0, when)[:CODES]
        return torch.stack(
            [torch.tensor(reference.kl(row, LOGITS.softmax(0) @ q), dtype=torch.float64) for row in q]
        )

    torch.testing.assert_close(
        blind_cost(process, t), (apart(t - step) - apart(t + step)) / (2 * step), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("curve", ["linear", "cosine"])
def test_weights_of_a_constant_share(curve, share):
    """r'/r at masks, r'/(r(1-r)) at replaced tokens, w r'/(g(1-r)(1+(K-1)κ)) at kept ones."""
    schedule, t = ConstantShare(curve, share), torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    c, (r, slope), (g, kappa) = (
        coefficients(Process(7, schedule, 0), t),
        schedule.corrupted(t),
        schedule.survival(t),
    )
    if share < 1:
        torch.testing.assert_close(c.at_mask, slope / r)
    if share > 0:
        torch.testing.assert_close(c.at_other, slope / (r * (1 - r)))
        torch.testing.assert_close(c.at_same, share * slope / (g * (1 - r) * (1 + 6 * kappa)))


def best_own_probability(objective: Objective, kept: float = 1.0, steps: int = 0) -> float:
    """Optimal x̂_v of one fair bit at κ = 3/4, kept tokens weighed by a further factor."""
    process = Process(2, ConstantShare("linear", 1.0), steps)
    x_0, x_t, t = torch.tensor([[0], [1]]), torch.zeros(2, 1, dtype=torch.long), f64(0.25, 0.25)
    weight = f64(0.875 * kept, 0.125)[:, None] * objective.weights(process, x_0, x_t, t)[0]
    shares = torch.arange(0, 1000, dtype=torch.float64) / 1000
    logits = torch.stack([shares, 1 - shares], -1).clamp_min(1e-12).log()
    both = [each.repeat(len(shares), 1) for each in (x_0, x_t)]  # every prediction at once, on both bits
    terms = bound_terms(process, logits.repeat_interleave(2, 0)[:, None], *both, t.repeat(len(shares))).bound
    return float(shares[(weight * terms.view(-1, 2, 1)).sum((1, 2)).argmin()])


@pytest.mark.parametrize("weighting", ["elbo", "min_snr", "dynamic", "clipped"])
@pytest.mark.parametrize("steps", [0, 4, 100])
def test_weightings_keep_the_optimum(weighting, steps):
    """Also at the first step of four, t = 1/4, where the term is the reconstruction."""
    assert best_own_probability(Objective(weighting=weighting), steps=steps) == 0.5


def test_without_kept_tokens_the_own_code_is_impossible():
    assert best_own_probability(Objective(), kept=0.0) == 0.0
    assert best_own_probability(Objective(), kept=3.0) == 0.75  # odds of the optimum, times the weight


@given(st.integers(1, 12), st.data())
@settings(max_examples=20, deadline=None)
def test_pure_masking_counts_every_number_of_masks_alike(tokens, data):
    """∫ C(N,n) r^n (1-r)^(N-n) (n/N) / r dr = 1/N: an exact rule, as the integrand is a polynomial of degree N - 1."""
    masks = data.draw(st.integers(1, tokens))
    nodes, weights = np.polynomial.legendre.leggauss(tokens)
    r = (nodes + 1) / 2
    value = math.comb(tokens, masks) * r ** (masks - 1) * (1 - r) ** (tokens - masks) * masks / tokens
    assert float((weights / 2 * value).sum()) == pytest.approx(1 / tokens, rel=1e-9)


def test_clean_codes_given_noisy_ones_depend_on_kappa_alone():
    """p(x_0 | x_t) over three tokens of three codes: the same for any g at one κ, another at another κ."""
    codes = torch.cartesian_prod(*[torch.arange(3)] * 3)
    data = torch.softmax(
        2 * torch.randn(27, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 0
    )

    def given_noisy(g: float, kappa: float, x_t: list[int]) -> torch.Tensor:
        table = torch.full((3, 4), g * (1 - kappa) / 3, dtype=torch.float64)
        table[:, :3] += g * kappa * torch.eye(3, dtype=torch.float64)
        table[:, 3] = 1 - g
        weight = data * table[codes, torch.tensor(x_t)].prod(-1)
        return weight / weight.sum()

    for x_t in ([0, 1, 2], [3, 1, 2], [3, 3, 0]):
        torch.testing.assert_close(given_noisy(0.2, 0.6, x_t), given_noisy(0.9, 0.6, x_t), rtol=0, atol=1e-14)
        assert (given_noisy(0.2, 0.6, x_t) - given_noisy(0.2, 0.9, x_t)).abs().max() > 0.05


@pytest.mark.parametrize("chance, factor", [(1 / 1000, 0.590), (1 / 4096, 0.0747)])
def test_a_float32_gumbel_max_misses_small_rates(chance, factor):
    """P(the largest of K codes' noise beats the mask) by ``chance``, for uniforms on the grid of 2^-24, K = 16384."""
    codes, steps = 16384, np.arange(1, 200_001)
    noise = -np.log(-np.log1p(-steps / 2**24))
    first = np.diff(
        1 - (1 - np.append(0, steps) / 2**24) ** codes
    )  # the largest of K is the i-th grid point from the top
    wins = np.exp(-np.exp(-(noise + math.log(chance / codes) - math.log1p(-chance))))
    assert float((first * wins).sum()) / chance == pytest.approx(factor, rel=2e-3)
    assert noise[0] == pytest.approx(16.6, abs=0.05)


def words(pattern: str) -> set[str]:
    return {found for page in PAGES for found in re.findall(pattern, page.read_text(encoding="utf-8"))}


def test_the_pages_name_what_exists():
    """Tests, files, functions and links; and the settings of named methods are those of their files."""
    everything = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("tests", "d3pm_image")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = words(r"`(test_\w+)`")
    assert named and not [name for name in named if f"def {name}(" not in everything]
    for path in words(r"`((?:d3pm_image|tests|configs|docs)/[\w./]+)`"):
        assert (ROOT / path).exists(), path
    for name in words(r"`(?:[A-Z]\w+\.)?(_?[a-z]+_[a-z_]+)`") - {
        name for name in words(r"`(\w+)`") if name.startswith("test_")
    }:
        assert re.search(rf"\b{name}\b", everything), name
    for owner, name in words(r"`([A-Z][a-z]\w+)(?:\.(\w+))?`"):
        assert f"class {owner}" in everything and (not name or f"def {name}(" in everything), (
            f"{owner}.{name}"
        )
    table = words(r"\| `(\w+)` \| `(\{corruption[^`]*\})` \| `(\{bound[^`]*\})` \|")
    assert {method for method, *_ in table} == {
        path.stem for path in (ROOT / "configs" / "methods").glob("*.yaml")
    }
    for method, process, loss in table:
        run = yaml.safe_load((ROOT / "configs" / "methods" / f"{method}.yaml").read_text(encoding="utf-8"))
        run["loss"] = {
            key: float(value) if key == "auxiliary" else value for key, value in run["loss"].items()
        }  # YAML reads 5e-4 as text
        assert ProcessConfig(**yaml.safe_load(process)) == ProcessConfig(**run["process"]), method
        stated = DiffusionLossConfig(**yaml.safe_load(loss))
        assert stated == dataclasses.replace(
            DiffusionLossConfig(**run["loss"]), label_dropout=stated.label_dropout
        ), method
    for line in words(r"`process: (\{[^`]*\})`"):
        ProcessConfig(**yaml.safe_load(line))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_formulas_in_the_text_survive_markdown(page):
    """Inline formulas hold nothing that Markdown reads: escapes, pipes, stars, breaks, tags, or underscores that open emphasis."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert text.count("$") % 2 == 0
    for formula in re.findall(r"\$([^$]*)\$", text):
        assert not re.search(r"\\[^A-Za-z]|[|*\n]|<\S|[})\]]_|operatorname", formula), formula
        assert formula == formula.strip(), formula
