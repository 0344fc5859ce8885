"""Every sampler by the distribution that it draws with a known denoiser, and by its own law."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import reference
from helpers.asking import asked
from helpers.samplers import ExactDenoiser, at, drawn, noise_denoiser, toy, variation

from d3pm_image.config import ConfigError
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling.draws import LogitsFilter, probabilities
from d3pm_image.sampling.guidance import weight_at
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.samplers.ctmc import CTMC
from d3pm_image.sampling.samplers.halton import halton_rank
from d3pm_image.sampling.samplers.remask import Remask
from d3pm_image.sampling.state import DecodeState, ImageStreams

MANY = 20_000
EXACT = [
    ({"sampler": "ancestral"}, (0.0, 0.2, 1.0)),
    ({"sampler": "purity", "gumbel": 1e6}, (0.0, 0.2)),
    ({"sampler": "ctmc", "eta": 0.0}, (0.0, 0.2, 1.0)),
    ({"sampler": "ctmc", "eta": 1.0}, (0.0, 0.2, 1.0)),
    ({"sampler": "ctmc", "form": "euler", "eta": 0.5}, (0.0, 0.2)),
    ({"sampler": "ctmc", "form": "tau", "eta": 0.5}, (0.0,)),
    ({"sampler": "renoise", "eta": 1.0}, (0.0, 0.2, 1.0)),
    ({"sampler": "remask", "eta": 0.05}, (0.0, 0.2)),
    ({"sampler": "remask", "eta": 0.3, "strategy": "rescale"}, (0.0, 0.2)),
    ({"sampler": "predictor_corrector", "eta": 1.0}, (0.0, 0.2, 1.0)),
]


@pytest.mark.parametrize(("settings", "share"), [(s, w) for s, shares in EXACT for w in shares], ids=str)
def test_exact_rules_draw_the_joint_distribution_as_steps_grow(settings, share):
    """Three tokens of three codes under the optimal denoiser; one or two steps are visibly worse than many."""
    data, process, denoiser = toy(share)
    few = variation(drawn(process, denoiser, MANY // 2, steps=2, **settings), data)
    many = variation(drawn(process, denoiser, MANY // 2, steps=64, **settings), data)
    assert many < 0.035
    assert few > 1.5 * many


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_first_hitting_with_a_step_a_token_is_exact_without_random_codes(share):
    data, process, denoiser = toy(share)
    distance = variation(drawn(process, denoiser, MANY, sampler="first_hitting", steps=3), data)
    assert distance < (0.015 if share == 0 else 0.2)
    if share:  # random codes need time to move between hits
        assert variation(drawn(process, denoiser, MANY, sampler="first_hitting", steps=48), data) < distance


@pytest.mark.parametrize("sampler", ["confidence", "entropy", "margin", "halton"])
def test_orders_with_a_step_a_token_are_exact_where_the_order_looks_at_no_code(sampler):
    """Halton's order is fixed, and large τ makes the others random: each token is then drawn from its exact conditional."""
    data, process, denoiser = toy(0.0)
    random = {} if sampler == "halton" else {"gumbel": 1e6}
    one_by_one = drawn(process, denoiser, MANY, sampler=sampler, steps=3, reveal="linear", **random)
    assert variation(one_by_one, data) < 0.02


@pytest.mark.parametrize("broken", ["sigma", "unmask"])
def test_the_distribution_test_sees_a_broken_rule(broken, monkeypatch):
    """Remasking that is not balanced, or a wrong unmask rate, is far outside the bound of the tests above."""
    data, process, denoiser = toy(0.2)
    if broken == "sigma":
        monkeypatch.setattr(
            Remask,
            "sigma",
            lambda self, state: torch.full(state.x_t.shape, 0.0 if state.last else 0.9, dtype=torch.float64),
        )
        drawn_codes = drawn(process, denoiser, MANY, sampler="remask", steps=8)
        assert variation(drawn_codes, data) > 0.05
    else:
        from d3pm_image.sampling import reverse_kernel

        monkeypatch.setattr(
            reverse_kernel, "unmask_probability", lambda process, t, s: (s <= 0).double()[:, None]
        )
        assert variation(drawn(process, denoiser, MANY, sampler="ancestral", steps=64), data) > 0.05


def noised(process: Process, data: torch.Tensor, t: float, n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    index = torch.multinomial(data, n, replacement=True, generator=generator)
    clean = torch.stack([index // 9, index // 3 % 3, index % 3], 1)
    draws = torch.rand(n, 3, 3, dtype=torch.float64, generator=generator)
    return process.corrupt(clean, torch.full((n,), t, dtype=torch.float64), draws)


def histogram(x: torch.Tensor) -> torch.Tensor:
    return torch.bincount(x[:, 0] * 16 + x[:, 1] * 4 + x[:, 2], minlength=64).double() / len(x)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_correctors_preserve_the_marginal(share):
    """x_t ~ q_t, noised a little and drawn back with the optimal denoiser, is q_t again; without the way back it is not."""
    from helpers.samplers import FastStreams

    from d3pm_image.sampling.reverse_kernel import reverse_jump

    data, process, denoiser = toy(share)
    n, low, high = 60_000, 0.4, 0.45
    x = noised(process, data, low, n, 0)
    target = histogram(noised(process, data, low, n, 1))
    state = DecodeState(process, x, torch.ones_like(x, dtype=torch.bool), FastStreams(n, 3))
    up = torch.full((n,), high, dtype=torch.float64)
    down = torch.full((n,), low, dtype=torch.float64)
    state.x_t = process.jump(x, down, up, torch.stack(state.uniforms(3), -1))
    drift = (histogram(state.x_t) - target).abs().sum() / 2
    logits = denoiser(state.x_t, process.schedule.survival(up)[1], None, None)
    state.x_t = reverse_jump(state, logits.softmax(-1), up, down)
    error = (histogram(state.x_t) - target).abs().sum() / 2
    assert error < 0.02
    assert drift > 1.5 * error


@pytest.mark.parametrize("form", ["exact", "euler", "tau"])
@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_ctmc_rates_are_the_chains(form, start):
    """P(x_s | x_t = v) of a short step against the rate matrix of the page, η included."""
    process, eta, t, dt = Process(3, ConstantShare("linear", 0.3), 0), 1.5, 0.6, 1e-3
    x_hat = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    (g, kappa), (g1, k1) = (
        (float(v) for v in f(at(t))) for f in (process.schedule.survival, process.schedule.slopes)
    )
    bar = kappa * x_hat + (1 - kappa) / 3
    if start == 3:
        rates = torch.cat([(-g1 + eta * g) / (1 - g) * bar, torch.zeros(1)])
    else:
        rates = torch.cat(
            [-k1 / kappa / 3 * bar / bar[start] + eta / 3 * (1 + bar / bar[start]), torch.tensor([eta])]
        )
    rates[start] = 0
    n, rounds = 200_000, 5
    counts = torch.zeros(4)
    for seed in range(rounds):
        state = DecodeState(
            process,
            torch.full((1, n), start),
            torch.ones(1, n, dtype=torch.bool),
            ImageStreams(seed, [0]),
            steps=9,
            t=at(t),
            s=at(t - dt),
        )
        counts += torch.bincount(
            CTMC(eta=eta, form=form).step(state, x_hat.log().expand(1, n, 3))[0], minlength=4
        )
    seen = counts.double() / (n * rounds)
    seen[start] = 0
    error = 5 * (rates * dt / (n * rounds)).sqrt() + 0.01 * rates * dt + 1e-7
    assert ((seen - rates * dt).abs() < error).all(), (seen / dt, rates)


def test_remasking_has_the_published_probabilities():
    process, eta, t, s = Process(4, ConstantShare("linear", 0.0), 0), 0.2, 0.6, 0.5
    g_t, g_s = 1 - t, 1 - s
    n = 200_000
    x = torch.cat([torch.full((1, n), 4), torch.full((1, n), 1)], 1)
    state = DecodeState(
        process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]), steps=9, t=at(t), s=at(s)
    )
    out = Remask(eta=eta).step(state, torch.zeros(1, 2 * n, 4))[0]
    unmasked, remasked = float((out[:n] != 4).double().mean()), float((out[n:] == 4).double().mean())
    assert abs(unmasked - (g_s - (1 - eta) * g_t) / (1 - g_t)) < 5 / math.sqrt(n)
    assert abs(remasked - eta) < 5 / math.sqrt(n)
    capped = Remask(eta=1.0).sigma(state)
    assert float(capped.max()) == pytest.approx(min(1, (1 - g_s) / g_t))


def test_renoise_draws_the_marginal_of_its_clean_codes():
    """With the answer known (one-hot x̂) the tokens after a step are q(x_s | x_0) exactly."""
    process = Process(3, ConstantShare("linear", 0.3), 0)
    n, t, s = 200_000, 0.7, 0.4
    from d3pm_image.sampling.samplers.renoise import Renoise

    noisy = process.corrupt(
        torch.full((1, n), 2),
        at(t),
        torch.rand(1, n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    )
    logits = torch.tensor([-50.0, -50.0, 50.0]).expand(1, n, 3)
    state = DecodeState(
        process, noisy, torch.ones(1, n, dtype=torch.bool), ImageStreams(1, [0]), steps=9, t=at(t), s=at(s)
    )
    seen = torch.bincount(Renoise(eta=0.5).step(state, logits)[0], minlength=4).double() / n
    assert (seen - reference.transition(process, 0, s)[2]).abs().max() < 5 * 0.5 / math.sqrt(n)


def test_halton_order_visits_every_cell_once_and_spreads():
    for grid in ((7, 7), (16, 16), (1, 5), (3, 8), (1, 1)):
        assert sorted(halton_rank(grid).tolist()) == list(range(grid[0] * grid[1]))
    first = (halton_rank((16, 16)).view(16, 16) < 16).nonzero()
    quarters = {(int(r) // 8, int(c) // 8) for r, c in first}
    assert len(quarters) == 4


def test_halton_reveals_the_published_counts():
    """max(i+1, floor(N₀ (1 - (2/π) arccos((i+1)/S)))) after step i."""
    process, tokens, steps, seen = Process(5, ConstantShare("linear", 0.0), 0), 16, 6, []
    seen_by = lambda f: seen.append(int((~f.masked).sum()))  # noqa: E731
    settings = asked(sampler="halton", steps=steps, reveal="arccos", callback=seen_by)
    labels = torch.zeros(1, dtype=torch.long)
    sample(noise_denoiser(5), process, settings, labels, 0, (4, 4), ImageStreams(0, [0]))
    expected = (
        [0]
        + [
            max(i, math.floor(tokens * (1 - 2 / math.pi * math.acos(i / steps)) + 1e-9))
            for i in range(1, steps)
        ]
        + [tokens]
    )
    assert seen == expected


def test_confidence_orders_by_entropy_and_margin():
    from d3pm_image.sampling.samplers.confidence import Entropy, Margin

    p = torch.tensor([[0.5, 0.5, 0.0], [0.6, 0.2, 0.2], [0.98, 0.01, 0.01]], dtype=torch.float64)
    codes = torch.tensor([0, 0, 0])
    assert Margin().sureness(p, codes).tolist() == pytest.approx([0.0, 0.4, 0.97])
    entropy = Entropy().sureness(p, codes)
    assert entropy[0] == pytest.approx(-math.log(2)) and entropy[2] > entropy[0] > entropy[1]


def test_top_k_and_top_p_keep_the_likeliest_codes():
    logits = torch.tensor([0.1, 0.4, 0.3, 0.2]).log()
    torch.testing.assert_close(
        probabilities(logits, top_k=2),
        torch.tensor([0, 4 / 7, 3 / 7, 0], dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )
    torch.testing.assert_close(
        probabilities(logits, top_p=0.5),
        torch.tensor([0, 4 / 7, 3 / 7, 0], dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )
    torch.testing.assert_close(
        probabilities(logits, top_p=0.35), torch.tensor([0.0, 1, 0, 0], dtype=torch.float64)
    )
    torch.testing.assert_close(probabilities(logits, top_k=9), torch.softmax(logits.double(), -1))


def test_guidance_weights_follow_their_schedule_and_interval():
    def weights(**settings):
        return [
            round(weight_at(asked(guidance=3.0, steps=4, **settings).sampling, r), 4)
            for r in (0.0, 0.25, 0.5, 0.75)
        ]

    assert weights() == [3, 3, 3, 3]
    assert weights(guidance_schedule="linear") == [1, 1.6667, 2.3333, 3]
    assert weights(guidance_schedule="cosine") == [1, 1.5, 2.5, 3]
    assert weights(guidance_from=0.25, guidance_until=0.75) == [1, 3, 3, 1]


class Counting:
    """A denoiser that counts the images it is asked for."""

    def __init__(self, codes):
        self.inner, self.images = noise_denoiser(codes), 0

    def __call__(self, x_t, kappa, labels, grid, where=None):
        self.images += len(x_t)
        return self.inner(x_t, kappa, labels, grid)


def count(share=0.0, unknown=(12, 12), **settings):
    network, process = Counting(9), Process(9, ConstantShare("linear", share), 0)
    open_tokens = torch.arange(12)[None] < torch.tensor(unknown)[:, None]
    labels = torch.zeros(len(unknown), dtype=torch.long)
    config = asked(**settings)
    sample(network, process, config, labels, 1, (3, 4), ImageStreams(0, range(len(unknown))), torch.zeros_like(open_tokens, dtype=torch.long), open_tokens)  # fmt: skip
    return network.images


def test_no_call_is_spent_on_finished_images():
    assert count(sampler="confidence", steps=4, unknown=(12, 0)) == 4
    assert count(sampler="confidence", steps=6, unknown=(12, 2)) == 6 + 2
    assert count(share=0.2, sampler="ancestral", steps=5, unknown=(0, 12)) == 5


def test_guidance_doubles_the_calls_only_inside_its_interval():
    assert count(sampler="confidence", steps=4, guidance=2.0) == 16
    assert count(sampler="confidence", steps=4, guidance=2.0, guidance_from=0.5) == 2 * 2 + 2 * 4


def test_logits_are_kept_while_an_image_does_not_change():
    """200 steps over 12 masks: an image changes at most 12 times, and only changes cost a call."""
    assert count(sampler="ancestral", steps=200) <= 2 * 13
    assert count(share=0.2, sampler="ancestral", steps=200) == 2 * 200


def test_kept_logits_change_nothing():
    """The same draws with a network that hides its image count, one image at a time and together."""
    process = Process(9, ConstantShare("linear", 0.0), 0)
    settings = asked(sampler="ancestral", steps=50, guidance=2.0, guidance_schedule="linear")
    labels = torch.tensor([1, 2, 0])
    together = sample(noise_denoiser(9), process, settings, labels, 3, (3, 4), ImageStreams(4, range(3)))
    for i in range(3):
        alone = sample(
            noise_denoiser(9), process, settings, labels[i : i + 1], 3, (3, 4), ImageStreams(4, [i])
        )
        assert torch.equal(alone[0], together[i])


def test_self_correction_mends_a_wrong_code():
    """A finished grid with one impossible code: the likelier code replaces it, and a right grid is left alone."""
    from d3pm_image.sampling.correct import correct

    process = Process(3, ConstantShare("linear", 0.2), 0)
    data = torch.zeros(27, dtype=torch.float64)
    data[[0, 13, 26]] = 1 / 3  # 000, 111 or 222
    denoiser = ExactDenoiser(data, 3, 3)
    for start, end in (([1, 1, 2], [1, 1, 1]), ([2, 2, 2], [2, 2, 2])):
        x = torch.tensor([start])
        state = DecodeState(
            process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]), LogitsFilter(0.1)
        )
        out, changed = correct(state, denoiser(x, torch.tensor([0.95]).double(), None, None), 1)
        assert out[0].tolist() == end
        assert bool(changed) == (start != end)


def test_seeds_may_be_given_an_image():
    process = Process(9, ConstantShare("linear", 0.1), 0)

    def run(seeds):
        labels = torch.zeros(len(seeds), dtype=torch.long)
        return sample(
            noise_denoiser(9),
            process,
            asked(steps=4),
            labels,
            1,
            (3, 4),
            ImageStreams(seeds, range(len(seeds))),
        )

    assert torch.equal(run([5, 8, 5])[[0, 1]], run([5, 8]))
    assert torch.equal(run([5, 8, 5])[0], run([5, 8, 5])[2])


@pytest.mark.parametrize(
    ("share", "settings", "field"),
    [
        (1.0, {"sampler": "remask"}, "sampler"),
        (1.0, {"sampler": "first_hitting"}, "sampler"),
        (1.0, {"sampler": "halton"}, "sampler"),
        (0.0, {"sampler": "ancestral", "correct_steps": 3}, "correct_steps"),
        (0.1, {"negative_label": 4}, "negative_label"),
    ],
)
def test_rules_that_do_not_fit_the_model_are_refused(share, settings, field):
    process = Process(9, ConstantShare("linear", share), 0)
    with pytest.raises(ConfigError, match=field):
        sample(
            noise_denoiser(9),
            process,
            asked(steps=2, **settings),
            torch.zeros(1, dtype=torch.long),
            1,
            (3, 4),
            ImageStreams(0, [0]),
        )


def test_processes_that_do_not_end_in_noise_take_mask_rules_only():
    process = Process(9, ConstantShare("linear", 1 / 9, end=0.135), 1)
    labels, streams = torch.zeros(1, dtype=torch.long), ImageStreams(0, [0])
    with pytest.raises(ConfigError, match=r"process\.end"):
        sample(noise_denoiser(9), process, asked(sampler="ancestral", steps=1), labels, 1, (3, 4), streams)
    assert sample(noise_denoiser(9), process, asked(steps=3), labels, 1, (3, 4), streams).shape == (1, 12)
