"""Samplers by the distribution they draw with a known denoiser, and by the invariants that all of them keep."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import reference
from helpers.asking import asked
from helpers.samplers import SAMPLERS, at, drawn, named, noise_denoiser, toy, variation

from d3pm_image.config import ConfigError
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling import SAMPLERS as NAMES
from d3pm_image.sampling import reverse_kernel
from d3pm_image.sampling.draws import draw, probabilities
from d3pm_image.sampling.guidance import Guided
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.samplers.ancestral import Ancestral
from d3pm_image.sampling.samplers.confidence import Confidence
from d3pm_image.sampling.state import DecodeState, ImageStreams


def test_every_sampler_is_tested():
    assert {settings["sampler"] for settings in SAMPLERS} == set(NAMES)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_ancestral_draws_the_joint_distribution(share):
    """Exact as the steps grow, for absorbing, hybrid and uniform processes; few steps are visibly worse."""
    data, process, denoiser = toy(share)
    n = 20_000
    assert variation(torch.zeros(n, 3, dtype=torch.long), data) > 0.3  # the distance sees a point mass
    many = variation(drawn(process, denoiser, n, sampler="ancestral", steps=64), data)
    one = variation(drawn(process, denoiser, n, sampler="ancestral", steps=1), data)
    assert many < 0.03
    assert one > 2 * many


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_one_ancestral_jump_is_the_dense_posterior(share, start):
    """From a fixed token the drawn x_s has the frequencies of p(x_s | x_t), remaining masks included."""

    if share == 1.0 and start == 3:
        pytest.skip("a uniform process has no masks")
    process = Process(3, ConstantShare("linear", share), 0)
    n, t, s = 200_000, 0.7, 0.4
    logits = torch.tensor([0.3, -1.0, 0.8], dtype=torch.float64).expand(1, n, 3)
    state = DecodeState(
        process,
        torch.full((1, n), start),
        torch.ones(1, n, dtype=torch.bool),
        ImageStreams(5, [0]),
        t=at(t),
        s=at(s),
    )
    seen = torch.bincount(Ancestral().step(state, logits)[0], minlength=4).double() / n
    expected = reference.reverse_loo(process, logits[0, 0].softmax(-1), start, s, t)
    assert (seen - expected).abs().max() < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("rate", [1 / 1000, 1 / 4096])
def test_unmask_rate_is_right_at_16384_codes(rate, monkeypatch):
    """A short step of an absorbing process unmasks its share of two million tokens, within sampling error (2 % and 4.5 %).

    The codes themselves are not looked at, so that float32 probabilities of 16384 codes need not be held for each token.
    """
    monkeypatch.setattr(reverse_kernel, "draw", lambda p, u: torch.zeros_like(u, dtype=torch.long))
    process, n = Process(16384, ConstantShare("linear", 0.0), 0), 2_000_000
    x = torch.full((1, n), 16384)
    state = DecodeState(process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]))
    p = torch.full((1, 1, 16384), 1 / 16384, dtype=torch.float32).expand(1, n, 16384)
    out = reverse_kernel.reverse_jump(state, p, at(1.0), at(1 - rate))
    assert abs(int((out != 16384).sum()) - n * rate) < 5 * math.sqrt(n * rate)


def test_one_real_step_at_16384_codes_unmasks_its_share():
    """The same with the draw: a rate of 1/8 over a thousand tokens, each with float32 logits of its own."""
    process, n = Process(16384, ConstantShare("linear", 0.0), 0), 1000
    x = torch.full((1, n), 16384)
    state = DecodeState(
        process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]), t=at(1.0), s=at(7 / 8)
    )
    logits = torch.randn(1, 1, 16384, generator=torch.Generator().manual_seed(0)).expand(1, n, 16384)
    shown = Ancestral().step(state, logits)[0] != 16384
    assert abs(int(shown.sum()) - n / 8) < 5 * math.sqrt(n / 8)


def test_confidence_with_one_step_a_token_draws_the_joint_distribution():
    """Large τ makes the order random; one token per step is then exact for an absorbing process."""
    data, process, denoiser = toy(0.0)
    exact = variation(
        drawn(process, denoiser, 40_000, sampler="confidence", steps=3, gumbel=1e6, reveal="linear"), data
    )
    parallel = variation(drawn(process, denoiser, 40_000, sampler="confidence", steps=1), data)
    assert exact < 0.02 < parallel


def test_confidence_keeps_the_published_number_of_masks():
    """floor(N₀ γ(r)) least confident stay masked, clamped to [1, masked-1], an image each."""

    process, steps, tokens = Process(5, ConstantShare("linear", 0.0), 0), 6, 16
    unknown = torch.arange(tokens)[None] < torch.tensor([16, 7, 1, 0])[:, None]
    state = DecodeState(process, torch.where(unknown, 5, 0), unknown, ImageStreams(0, range(4)), steps=steps)
    rule, before = Confidence(), unknown.sum(1)
    for step in range(steps):
        state.step = step
        state.x_t = rule.step(state, torch.randn(4, tokens, 5))
        gamma = math.cos(math.pi * (step + 1) / steps / 2)
        left = [
            0 if step + 1 == steps else min(max(1, math.floor(n0 * gamma + 1e-9)), max(int(b) - 1, 0))
            for n0, b in zip([16, 7, 1, 0], before, strict=True)
        ]
        assert state.masked.sum(1).tolist() == left
        before = state.masked.sum(1)


def test_confidence_keeps_the_most_confident():

    process = Process(4, ConstantShare("linear", 0.0), 0)
    logits = torch.zeros(1, 8, 4)
    logits[0, torch.arange(8), 1] = torch.tensor([9.0, 1, 12, 2, 15, 0, 18, 3])
    state = DecodeState(
        process, torch.full((1, 8), 4), torch.ones(1, 8, dtype=torch.bool), ImageStreams(0, [0]), steps=3
    )
    kept = Confidence(gumbel=0.0, reveal="linear").step(state, logits)[0] != 4
    assert kept.tolist() == [
        False,
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]  # 8 codes in 3 steps: the best 3 stay in the first


@pytest.mark.parametrize("sampler", SAMPLERS, ids=named)
@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("steps", [1, 5, 12])
def test_known_codes_are_untouched_and_no_mask_is_left(sampler, share, steps):
    """Images with none, one, some and all codes unknown in one batch; steps of 1, N and not dividing N."""
    tokens, codes = 12, 9
    process = Process(codes, ConstantShare("linear", share), 0)
    known = torch.randint(codes, (4, tokens), generator=torch.Generator().manual_seed(0))
    unknown = torch.arange(tokens)[None] < torch.tensor([0, 1, 5, 12])[:, None]
    out = sample(
        noise_denoiser(codes),
        process,
        asked(steps=steps, correct_steps=2 if share else 0, **sampler),
        torch.zeros(4, dtype=torch.long),
        1,
        (3, 4),
        ImageStreams(3, range(4)),
        known,
        unknown,
    )
    assert torch.equal(out[~unknown], known[~unknown])
    assert out.min() >= 0 and out.max() < codes


@pytest.mark.parametrize("sampler", SAMPLERS, ids=named)
def test_image_i_does_not_depend_on_the_batch(sampler):
    process = Process(9, ConstantShare("linear", 0.1), 0)

    def run(images):
        labels = torch.tensor(list(images)) % 3
        return sample(
            noise_denoiser(9), process, asked(steps=4, **sampler), labels, 3, (3, 4), ImageStreams(11, images)
        )

    everything = run(range(7))
    assert torch.equal(run([5]), everything[5:6])
    assert torch.equal(run([2, 6, 0]), everything[[2, 6, 0]])
    assert len({tuple(row.tolist()) for row in everything}) > 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=named)
def test_one_code_and_one_token(sampler):
    assert sample(
        noise_denoiser(1),
        Process(1, ConstantShare("linear", 0.1), 0),
        asked(steps=1, **sampler),
        torch.zeros(2, dtype=torch.long),
        0,
        (1, 1),
        ImageStreams(0, range(2)),
    ).tolist() == [[0], [0]]


def test_impossible_requests_are_refused():
    labels, streams = torch.zeros(1, dtype=torch.long), ImageStreams(0, [0])
    with pytest.raises(ConfigError, match="steps=13"):
        sample(
            noise_denoiser(9),
            Process(9, ConstantShare("linear", 0.1), 0),
            asked("confidence", 13),
            labels,
            0,
            (3, 4),
            streams,
        )
    with pytest.raises(ConfigError, match="trained without masks"):
        sample(
            noise_denoiser(9),
            Process(9, ConstantShare("linear", 1.0), 0),
            asked("confidence", 4),
            labels,
            0,
            (3, 4),
            streams,
        )
    with pytest.raises(ConfigError, match="10 steps"):
        sample(
            noise_denoiser(9),
            Process(9, ConstantShare("linear", 0.1), 10),
            asked("ancestral", 11),
            labels,
            0,
            (3, 4),
            streams,
        )


def test_guidance_mixes_clean_code_logits():
    """u + w(c - u); w = 1 and unlabelled batches call the network once and unchanged."""
    calls = []

    def network(x_t, kappa, labels, grid, where=None):
        calls.append(len(x_t))
        return labels[:, None, None].double().expand(len(x_t), 2, 3) * torch.tensor([1.0, 2.0, 3.0])

    x, kappa, labels = torch.zeros(2, 2, dtype=torch.long), torch.ones(2), torch.tensor([1, 4])
    plain = network(x, kappa, labels, (1, 2))
    torch.testing.assert_close(Guided(network, 7, 7)(x, kappa, labels, (1, 2), 1.0), plain)
    none = network(x, kappa, torch.tensor([7, 7]), (1, 2))
    torch.testing.assert_close(
        Guided(network, 7, 7)(x, kappa, labels, (1, 2), 2.5).double(), none + 2.5 * (plain - none)
    )
    calls.clear()
    Guided(network, 7, 7)(x, kappa, torch.tensor([7, 7]), (1, 2), 2.5)
    Guided(network, 7, 7)(x, kappa, labels, (1, 2), 2.5)
    assert calls == [2, 4]


def test_draw_follows_the_probabilities_and_never_an_impossible_code():
    p = probabilities(torch.tensor([0.0, -math.inf, 1.0, 2.0]), 0.5)
    torch.testing.assert_close(
        p, torch.softmax(torch.tensor([0.0, -math.inf, 2.0, 4.0], dtype=torch.float64), -1)
    )
    u = torch.linspace(0, 1 - 1e-12, 100_001, dtype=torch.float64)
    seen = torch.bincount(draw(p.expand(len(u), 4), u), minlength=4).double() / len(u)
    torch.testing.assert_close(seen, p, atol=1e-4, rtol=0)
    assert seen[1] == 0


def test_streams_depend_on_seed_and_image_alone():
    a = ImageStreams(1, range(4)).uniform(3)
    assert torch.equal(a[2:3], ImageStreams(1, [2]).uniform(3))
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a[0], ImageStreams(2, [0]).uniform(3)[0])


def test_a_sampler_has_its_own_settings_and_no_others():
    for name, kind in NAMES.items():
        for setting in {setting for other in NAMES.values() for setting in other.types()}:
            if setting in kind.types():
                assert setting in kind().settings() and kind.describe()[setting]
            else:
                with pytest.raises(ConfigError, match=f"^{setting}=.*the sampler {name} has no such setting"):
                    asked(name, **{setting: 1})


def test_the_settings_of_version_0_1_0_are_those_of_today():
    from d3pm_image.sampling.choice import flat, from_values, migrated, to_values

    for settings in SAMPLERS:
        request = asked(**{"steps": 7, "guidance": 1.5} | settings)
        of_all = {
            "gumbel": 4.5,
            "reveal": "cosine",
            "eta": 0.1,
            "ctmc_form": "tau",
            "remask_strategy": "loop",
            "roll": False,
        }
        own = request.sampler.settings()
        names = {"form": "ctmc_form", "strategy": "remask_strategy"}
        old = {
            **of_all,
            **flat(request.sampler, request.sampling),
            **{names.get(n, n): value for n, value in own.items()},
        }
        old = {name: value for name, value in old.items() if name not in names}
        assert migrated(old) == (request.sampler, request.sampling)
        assert from_values(to_values(request.sampler)) == request.sampler


def test_another_sampler_has_its_own_defaults_and_the_same_one_its_settings():
    from d3pm_image.sampling.choice import choose
    from d3pm_image.sampling.samplers.renoise import Renoise

    own = Renoise(eta=0.3)
    assert choose(own) == choose(own, "renoise") == own and choose(own, eta=0.5) == Renoise(eta=0.5)
    assert choose(own, "predictor_corrector").eta == 1.0 and choose(asked("ctmc").sampler, own) is own
    with pytest.raises(ConfigError, match=r"Renoise\(eta=2\)"):
        choose(own, own, eta=2)
    with pytest.raises(ConfigError, match="ctmc, predictor_corrector, remask, renoise have it"):
        choose(asked("ancestral").sampler, eta=2)
