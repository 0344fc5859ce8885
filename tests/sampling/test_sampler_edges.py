"""Samplers with networks of any precision that leave unasked positions undefined, and guidance at the ends of its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.asking import asked
from helpers.samplers import SAMPLERS, at, named, noise_denoiser

from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling.guidance import weight_at
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.samplers.remask import Remask
from d3pm_image.sampling.state import DecodeState, ImageStreams

CODES, GRID = 9, (3, 4)


def run(network, share: float = 0.0, seed: int = 3, images: int = 4, **settings):
    labels = torch.arange(images) % 3
    process = Process(CODES, ConstantShare("linear", share), 0)
    return sample(network, process, asked(**settings), labels, 3, GRID, ImageStreams(seed, range(images)))


def answering_in(dtype: torch.dtype):
    network = noise_denoiser(CODES)
    return lambda x_t, kappa, labels, grid, where=None: network(x_t, kappa, labels, grid).to(dtype)


def leaving_out(x_t, kappa, labels, grid, where):
    """NaN wherever nobody asked."""
    logits = noise_denoiser(CODES)(x_t, kappa, labels, grid)
    return torch.where(where[..., None], logits, torch.full_like(logits, torch.nan))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("interval", [(0.0, 0.5), (0.3, 0.7), (0.5, 1.0)], ids=str)
def test_networks_may_answer_in_any_precision_under_guidance_over_part_of_the_decode(dtype, share, interval):
    for sampler in ("confidence", "ancestral", "remask"):
        guided = {"guidance": 2.0, "guidance_from": interval[0], "guidance_until": interval[1]}
        codes = run(
            answering_in(dtype), share, sampler=sampler, steps=8, correct_steps=2 if share else 0, **guided
        )
        assert int(codes.min()) >= 0 and int(codes.max()) < CODES


def test_half_precision_is_mixed_in_float32():
    """The guided logits of a bf16 network are those of the same numbers in float32."""

    def rounded(x_t, kappa, labels, grid, where=None):
        return answering_in(torch.bfloat16)(x_t, kappa, labels, grid).float()

    for guidance in (1.0, 3.0):
        settings = {"sampler": "ancestral", "steps": 8, "guidance": guidance}
        assert torch.equal(run(answering_in(torch.bfloat16), **settings), run(rounded, **settings))


@pytest.mark.parametrize("sampler", SAMPLERS, ids=named)
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_positions_that_were_not_asked_for_are_never_read(sampler, share):
    """ctmc lost its η without a word: every probability that met a NaN was one of no event."""
    settings = {"steps": 6, "correct_steps": 2 if share else 0, **sampler}
    assert torch.equal(run(leaving_out, share, **settings), run(noise_denoiser(CODES), share, **settings))


def test_eta_of_ctmc_works_with_a_network_that_leaves_positions_out():
    settings = {"sampler": "ctmc", "steps": 12}
    assert not torch.equal(run(leaving_out, **settings, eta=5.0), run(leaving_out, **settings, eta=0.0))


def weights(steps: int = 4, **settings) -> list[float]:
    config = asked(guidance=3.0, steps=steps, **settings).sampling
    return [round(weight_at(config, step / steps), 6) for step in range(steps)]


def test_guidance_until_zero_guides_nothing():
    calls = []

    def network(x_t, kappa, labels, grid, where=None):
        calls.append(len(x_t))
        return noise_denoiser(CODES)(x_t, kappa, labels, grid)

    run(network, sampler="confidence", steps=4, guidance=2.0, guidance_until=0.0)
    assert calls == [4] * 4
    assert (
        weights(guidance_until=0.0)
        == weights(guidance_from=0.5, guidance_until=0.5)
        == weights(guidance_from=1.0)
        == [1] * 4
    )


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_rising_guidance_reaches_the_stated_weight(schedule):
    for steps in (1, 2, 3, 7, 16, 1000):
        found = weights(steps, guidance_schedule=schedule)
        assert found[-1] == 3 and found == sorted(found)
        assert steps == 1 or found[0] == 1
    assert (
        weight_at(asked(guidance=3.0, guidance_schedule=schedule).sampling, 1 - 1e-9) == 3
    )  # self-correction comes last
    assert weights(guidance_schedule="linear") == [1, round(5 / 3, 6), round(7 / 3, 6), 3]
    assert weights(guidance_schedule="cosine") == [1, 1.5, 2.5, 3]
    assert weights() == [3] * 4


@pytest.mark.parametrize("known", [0, 30_000])
def test_remasking_by_confidence_unmasks_at_the_published_rate(known):
    """(g_s-g_t)/(1-g_t) at masks, σ of mean σ_max/n at n revealed tokens (Wang et al. 2025, and their code)."""
    process, t, s, n = Process(4, ConstantShare("linear", 0.0), 0), 0.6, 0.4, 100_000
    x = torch.cat([torch.full((1, n), 4), torch.full((1, 3), 1), torch.full((1, known), 2)], 1)
    unknown = torch.ones_like(x, dtype=torch.bool)
    unknown[:, n + 3 :] = False
    seen = []
    for seed in range(4):
        state = DecodeState(process, x, unknown, ImageStreams(seed, [0]), steps=9, t=at(t), s=at(s))
        sigma = Remask(strategy="confidence").sigma(state)[0]
        assert not sigma[:n].any() and not sigma[n + 3 :].any()
        assert float(sigma.sum()) == pytest.approx(min(1, s / (1 - t)))
        out = Remask(strategy="confidence").step(state, torch.zeros(1, x.shape[1], 4))[0]
        seen.append(float((out[:n] != 4).double().mean()))
    assert abs(sum(seen) / 4 - (t - s) / t) < 4 / math.sqrt(4 * n)
