"""Samplers by the distribution they draw with a known denoiser, and by the invariants that all of them keep."""

from __future__ import annotations

import dataclasses
import math

import pytest
import reference
import torch

from d3pm_image.config import SAMPLERS as NAMES
from d3pm_image.config import ConfigError, SamplerConfig
from d3pm_image.diffusion import ConstantShare, Process, Schedule
from d3pm_image.sampling import RULES, DecodeState, ImageStreams, moves, sample
from d3pm_image.sampling.ancestral import Ancestral
from d3pm_image.sampling.confidence import Confidence
from d3pm_image.sampling.guidance import Guided
from d3pm_image.sampling.rules import make_rule, settings_of_rules, settings_read
from d3pm_image.sampling.state import draw, probabilities

SAMPLERS = [
    {"sampler": "confidence"}, {"sampler": "entropy"}, {"sampler": "margin", "reveal": "square"}, {"sampler": "halton", "reveal": "arccos"},
    {"sampler": "halton", "roll": True}, {"sampler": "ancestral"}, {"sampler": "purity", "gumbel": 1.0}, {"sampler": "first_hitting"},
    {"sampler": "ctmc", "eta": 0.0}, {"sampler": "ctmc", "eta": 2.0}, {"sampler": "ctmc", "ctmc_form": "euler", "eta": 1.0},
    {"sampler": "ctmc", "ctmc_form": "tau"}, {"sampler": "renoise", "eta": 0.5}, {"sampler": "remask", "eta": 0.3},
    {"sampler": "remask", "remask_strategy": "rescale", "eta": 0.4}, {"sampler": "remask", "remask_strategy": "confidence"},
    {"sampler": "remask", "remask_strategy": "loop", "eta": 0.05}, {"sampler": "predictor_corrector", "eta": 1.0},
    {"sampler": "ancestral", "guidance": 2.0, "guidance_schedule": "cosine", "guidance_from": 0.2, "top_k": 4, "top_p": 0.9},
]  # fmt: skip


def test_every_sampler_is_tested():
    assert {settings["sampler"] for settings in SAMPLERS} == set(NAMES) == set(RULES)


def named(settings: dict) -> str:
    return "-".join(str(v) for v in settings.values())


def at(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


class ExactDenoiser:
    """The optimal leave-one-out denoiser of an enumerable distribution over N tokens of K codes."""

    def __init__(self, data: torch.Tensor, codes: int, tokens: int, curves: Schedule):
        self.data, self.k, self.n, self.curves = data, codes, tokens, curves
        self.grid = torch.cartesian_prod(*[torch.arange(codes)] * tokens).view(-1, tokens)
        self.calls = 0

    def __call__(self, x_t, kappa, labels, grid):
        self.calls += 1
        # evidence of one token for each code: mask says nothing, an unmasked token κ 1[v=i] + (1-κ)/K
        rho = ((1 - kappa) / self.k)[:, None, None]
        masked = (x_t == self.k)[..., None]
        codes = torch.arange(self.k)
        evidence = torch.where(masked, torch.ones(()).double(), kappa[:, None, None] * (x_t[..., None] == codes) + rho)
        likelihood = torch.stack([evidence[:, i][:, self.grid[:, i]] for i in range(self.n)], 1)  # (B, N, states)
        out = torch.empty(*x_t.shape, self.k, dtype=torch.float64)
        for i in range(self.n):
            others = likelihood[:, [j for j in range(self.n) if j != i]].prod(1) * self.data
            for c in range(self.k):
                out[:, i, c] = others[:, self.grid[:, i] == c].sum(-1)
        return out.clamp_min(1e-300).log()


def toy(share: float, seed: int = 0):
    data = torch.softmax(2.5 * torch.randn(27, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), 0)
    process = Process(3, ConstantShare("linear", share), 0)
    return data, process, ExactDenoiser(data, 3, 3, process.schedule)


def drawn(process, denoiser, n, known=None, unknown=None, seed=0, **settings):
    labels = torch.zeros(n, dtype=torch.long)
    return sample(denoiser, process, SamplerConfig(**settings), labels, 0, (1, 3), FastStreams(n, seed), known, unknown)


class FastStreams:
    """One generator for all images: distribution tests need many images, not their independence of the batch."""

    def __init__(self, count, seed):
        self.count, self.generator = count, torch.Generator().manual_seed(seed)

    def take(self, images):
        part = FastStreams(len(images), 0)
        part.generator = self.generator
        return part

    def uniform(self, *shape):
        return torch.rand(self.count, *shape, dtype=torch.float64, generator=self.generator)


def variation(x: torch.Tensor, data: torch.Tensor) -> float:
    """Total variation distance of drawn states from the data distribution."""
    index = x[:, 0] * 9 + x[:, 1] * 3 + x[:, 2]
    return float((torch.bincount(index, minlength=27).double() / len(x) - data).abs().sum() / 2)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_ancestral_draws_the_joint_distribution(share):
    """Exact as the steps grow, for absorbing, hybrid and uniform processes; few steps are visibly worse."""
    data, process, denoiser = toy(share)
    n = 40_000
    assert variation(torch.zeros(n, 3, dtype=torch.long), data) > 0.3  # the distance sees a point mass
    many = variation(drawn(process, denoiser, n, sampler="ancestral", steps=64), data)
    one = variation(drawn(process, denoiser, n, sampler="ancestral", steps=1), data)
    assert many < 0.025
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
    state = DecodeState(process, torch.full((1, n), start), torch.ones(1, n, dtype=torch.bool), ImageStreams(5, [0]), t=at(t), s=at(s))
    seen = torch.bincount(Ancestral()(state, logits)[0], minlength=4).double() / n
    expected = reference.reverse_loo(process, logits[0, 0].softmax(-1), start, s, t)
    assert (seen - expected).abs().max() < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("rate", [1 / 1000, 1 / 4096])
def test_unmask_rate_is_right_at_16384_codes(rate, monkeypatch):
    """A short step of an absorbing process unmasks its share of two million tokens, within sampling error (2 % and 4.5 %).

    The codes themselves are not looked at, so that float32 probabilities of 16384 codes need not be held for each token.
    """
    monkeypatch.setattr(moves, "draw", lambda p, u: torch.zeros_like(u, dtype=torch.long))
    process, n = Process(16384, ConstantShare("linear", 0.0), 0), 2_000_000
    x = torch.full((1, n), 16384)
    state = DecodeState(process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]))
    p = torch.full((1, 1, 16384), 1 / 16384, dtype=torch.float32).expand(1, n, 16384)
    out = moves.reverse_jump(state, p, at(1.0), at(1 - rate))
    assert abs(int((out != 16384).sum()) - n * rate) < 5 * math.sqrt(n * rate)


def test_one_real_step_at_16384_codes_unmasks_its_share():
    """The same with the draw: a rate of 1/8 over a thousand tokens, each with float32 logits of its own."""
    process, n = Process(16384, ConstantShare("linear", 0.0), 0), 1000
    x = torch.full((1, n), 16384)
    state = DecodeState(process, x, torch.ones_like(x, dtype=torch.bool), ImageStreams(0, [0]), t=at(1.0), s=at(7 / 8))
    logits = torch.randn(1, 1, 16384, generator=torch.Generator().manual_seed(0)).expand(1, n, 16384)
    shown = Ancestral()(state, logits)[0] != 16384
    assert abs(int(shown.sum()) - n / 8) < 5 * math.sqrt(n / 8)


def test_confidence_with_one_step_a_token_draws_the_joint_distribution():
    """Large τ makes the order random; one token a step is then exact for an absorbing process."""
    data, process, denoiser = toy(0.0)
    exact = variation(drawn(process, denoiser, 40_000, sampler="confidence", steps=3, gumbel=1e6, reveal="linear"), data)
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
        state.x_t = rule(state, torch.randn(4, tokens, 5))
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
    state = DecodeState(process, torch.full((1, 8), 4), torch.ones(1, 8, dtype=torch.bool), ImageStreams(0, [0]), steps=3)
    kept = Confidence(gumbel=0.0, reveal="linear")(state, logits)[0] != 4
    assert kept.tolist() == [True, False, True, False, True, False, True, False] or int(kept.sum()) == 3
    assert kept[6] and kept[4] and not kept[5]


def noise_denoiser(codes):
    def predict(x_t, kappa, labels, grid):
        # depends on the tokens of the image alone, as a network does
        seedless = torch.sin(
            torch.arange(codes) * 1.7 + x_t.double()[..., None] * 0.9 + x_t.double().sum(1)[:, None, None] + labels[:, None, None]
        )
        return (3 * seedless).float()

    return predict


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
        SamplerConfig(steps=steps, correct_steps=2 if share else 0, **sampler),
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
        return sample(noise_denoiser(9), process, SamplerConfig(steps=4, **sampler), labels, 3, (3, 4), ImageStreams(11, images))

    everything = run(range(7))
    assert torch.equal(run([5]), everything[5:6])
    assert torch.equal(run([2, 6, 0]), everything[[2, 6, 0]])
    assert len({tuple(row.tolist()) for row in everything}) > 1


@pytest.mark.parametrize("sampler", SAMPLERS, ids=named)
def test_one_code_and_one_token(sampler):
    assert sample(
        noise_denoiser(1),
        Process(1, ConstantShare("linear", 0.1), 0),
        SamplerConfig(steps=1, **sampler),
        torch.zeros(2, dtype=torch.long),
        0,
        (1, 1),
        ImageStreams(0, range(2)),
    ).tolist() == [[0], [0]]


def test_impossible_requests_are_refused():
    labels, streams = torch.zeros(1, dtype=torch.long), ImageStreams(0, [0])
    with pytest.raises(ConfigError, match="steps=13"):
        sample(noise_denoiser(9), Process(9, ConstantShare("linear", 0.1), 0), SamplerConfig("confidence", 13), labels, 0, (3, 4), streams)
    with pytest.raises(ConfigError, match="trained without masks"):
        sample(noise_denoiser(9), Process(9, ConstantShare("linear", 1.0), 0), SamplerConfig("confidence", 4), labels, 0, (3, 4), streams)
    with pytest.raises(ConfigError, match="10 steps"):
        sample(noise_denoiser(9), Process(9, ConstantShare("linear", 0.1), 10), SamplerConfig("ancestral", 11), labels, 0, (3, 4), streams)


def test_guidance_mixes_clean_code_logits():
    """u + w(c - u); w = 1 and unlabelled batches call the network once and unchanged."""
    calls = []

    def network(x_t, kappa, labels, grid):
        calls.append(len(x_t))
        return labels[:, None, None].double().expand(len(x_t), 2, 3) * torch.tensor([1.0, 2.0, 3.0])

    x, kappa, labels = torch.zeros(2, 2, dtype=torch.long), torch.ones(2), torch.tensor([1, 4])
    plain = network(x, kappa, labels, (1, 2))
    torch.testing.assert_close(Guided(network, 7, 7)(x, kappa, labels, (1, 2), 1.0), plain)
    none = network(x, kappa, torch.tensor([7, 7]), (1, 2))
    torch.testing.assert_close(Guided(network, 7, 7)(x, kappa, labels, (1, 2), 2.5).double(), none + 2.5 * (plain - none))
    calls.clear()
    Guided(network, 7, 7)(x, kappa, torch.tensor([7, 7]), (1, 2), 2.5)
    Guided(network, 7, 7)(x, kappa, labels, (1, 2), 2.5)
    assert calls == [2, 4]


def test_draw_follows_the_probabilities_and_never_an_impossible_code():
    p = probabilities(torch.tensor([0.0, -math.inf, 1.0, 2.0]), 0.5)
    torch.testing.assert_close(p, torch.softmax(torch.tensor([0.0, -math.inf, 2.0, 4.0], dtype=torch.float64), -1))
    u = torch.linspace(0, 1 - 1e-12, 100_001, dtype=torch.float64)
    seen = torch.bincount(draw(p.expand(len(u), 4), u), minlength=4).double() / len(u)
    torch.testing.assert_close(seen, p, atol=1e-4, rtol=0)
    assert seen[1] == 0


def test_streams_depend_on_seed_and_image_alone():
    a = ImageStreams(1, range(4)).uniform(3)
    assert torch.equal(a[2:3], ImageStreams(1, [2]).uniform(3))
    assert not torch.equal(a[0], a[1])
    assert not torch.equal(a[0], ImageStreams(2, [0]).uniform(3)[0])


def test_a_rule_changes_with_the_settings_that_it_reads_and_with_no_other():
    other = {"gumbel": 2.0, "reveal": "linear", "eta": 0.7, "ctmc_form": "tau", "remask_strategy": "loop", "roll": True}
    assert set(other) == settings_of_rules()
    for name in NAMES:
        config = SamplerConfig(sampler=name)
        for setting, value in other.items():
            before, after = make_rule(config), make_rule(dataclasses.replace(config, **{setting: value}))
            assert (vars(before) != vars(after)) == (setting in settings_read(config)), (name, setting)
    assert settings_read(SamplerConfig(sampler="remask", remask_strategy="confidence")) == {"remask_strategy"}
