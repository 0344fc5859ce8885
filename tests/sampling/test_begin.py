"""Decodes that begin at a noise level t < 1, from known codes that the process corrupts so far: every sampler."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import reference
from helpers.asking import asked
from helpers.samplers import SAMPLERS, FastStreams, at, named, noise_denoiser, toy, variation

from d3pm_image.config import ConfigError
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.state import DecodeState, ImageStreams

CODES, GRID, TOKENS = 9, (3, 4), 12
HYBRID = Process(CODES, ConstantShare("linear", 0.1), 0)


def known_codes(count: int) -> torch.Tensor:
    return torch.randint(CODES, (count, TOKENS), generator=torch.Generator().manual_seed(1))


def begun(
    begin: float, settings: dict, known, unknown=None, process=HYBRID, network=None, watch=None, images=None
):
    images = range(len(known)) if images is None else images
    config = asked(**{"steps": 4, **settings}, callback=watch)
    labels = torch.zeros(len(known), dtype=torch.long)
    streams = ImageStreams(3, images)
    return sample(
        network or noise_denoiser(CODES), process, config, labels, 1, GRID, streams, known, unknown, begin
    )


def never(*_):
    raise AssertionError("the network was called")


@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_at_zero_the_codes_come_back_without_a_network_call(settings):
    known, frames = known_codes(3), []
    out = begun(0.0, {**settings, "correct_steps": 2}, known, network=never, watch=frames.append)
    assert torch.equal(out, known) and frames[0].step == 0 and all(torch.equal(f.x_t, known) for f in frames)


@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_at_one_the_known_codes_say_nothing(settings):
    """The draws are those of a decode that was given no codes."""
    drawn = begun(1.0, settings, known_codes(3))
    labels = torch.zeros(3, dtype=torch.long)
    plain = sample(
        noise_denoiser(CODES),
        HYBRID,
        asked(**{"steps": 4, **settings}),
        labels,
        1,
        GRID,
        ImageStreams(3, range(3)),
    )
    assert torch.equal(drawn, plain)


@pytest.mark.parametrize("begin", [1e-6, 0.35, 0.999])
@pytest.mark.parametrize("share", [0.0, 0.1])
@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_positions_that_are_not_open_stay_and_no_mask_is_left(settings, share, begin):
    process = Process(CODES, ConstantShare("linear", share), 0)
    known, unknown = known_codes(4), torch.arange(TOKENS)[None] < torch.tensor([0, 1, 5, 12])[:, None]
    settings = {**settings, "correct_steps": 2 if share else 0, "steps": 7}
    out = begun(begin, settings, known, unknown, process)
    assert torch.equal(out[~unknown], known[~unknown])
    assert int(out.min()) >= 0 and int(out.max()) < CODES
    if begin == 0.999:
        assert not torch.equal(out, known)


@pytest.mark.parametrize("settings", SAMPLERS, ids=named)
def test_image_i_does_not_depend_on_the_batch(settings):
    known = known_codes(5)
    everything = begun(0.5, settings, known)
    assert torch.equal(begun(0.5, settings, known[[3, 1]], images=[3, 1]), everything[[3, 1]])


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("sampler", ["confidence", "halton"])
def test_mask_rules_mask_what_the_corruption_changes(sampler, share):
    """Their first frame is the process's own x_t with random codes masked; the reveal counts are those of these masks."""
    process, tokens, begin, steps = Process(CODES, ConstantShare("linear", share), 0), 4000, 0.5, 6
    known, frames = torch.randint(CODES, (1, tokens)), []
    settings = asked(sampler=sampler, steps=steps, reveal="linear", callback=frames.append)
    flat = lambda x_t, kappa, labels, grid, where=None: torch.zeros(*x_t.shape, CODES)  # noqa: E731
    sample(flat, process, settings, torch.zeros(1, dtype=torch.long), 1, (1, tokens), ImageStreams(0, [0]), known, None, begin)  # fmt: skip
    g, kappa = process.schedule.survival(at(begin))
    changed = 1 - float(g) * (float(kappa) + (1 - float(kappa)) / CODES)
    first = frames[0]
    assert torch.equal(first.x_t[~first.masked], known[~first.masked])
    assert abs(float(first.masked.double().mean()) - changed) < 5 * 0.5 / math.sqrt(tokens)
    count = int(first.masked.sum())
    left = [int(f.masked.sum()) for f in frames]
    assert (
        left == [count] + [math.floor(count * (1 - i / steps) + 1e-9) for i in range(1, steps)] + [0]
        or sampler == "halton"
    )
    assert abs(left[3] - count / 2) <= 1


def kernel(process: Process, data: torch.Tensor, start: list[int], begin: float) -> torch.Tensor:
    """P(result | x_0 = start) (27,) of exact sampling: Σ q(x_t | start) p(x_0' | x_t) over all x_t, from dense matrices."""
    q = reference.transition(process, 0, begin)[:3]  # (3, 4)
    states = torch.cartesian_prod(*[torch.arange(3)] * 3)
    noisy = torch.cartesian_prod(*[torch.arange(4)] * 3)
    likelihood = torch.stack([q[states[:, i]][:, noisy[:, i]] for i in range(3)]).prod(0)  # (27, 64)
    posterior = likelihood * data[:, None]
    posterior = posterior / posterior.sum(0, keepdim=True).clamp_min(1e-300)
    return posterior @ likelihood[start[0] * 9 + start[1] * 3 + start[2]]


EXACT = [
    ({"sampler": "ancestral"}, (0.0, 0.2, 1.0)),
    ({"sampler": "purity", "gumbel": 1e6}, (0.0, 0.2)),
    ({"sampler": "ctmc", "eta": 0.0}, (0.2,)),
    ({"sampler": "first_hitting", "steps": 3}, (0.0,)),
    ({"sampler": "confidence", "gumbel": 1e6, "reveal": "linear", "steps": 3}, (0.0,)),
    ({"sampler": "halton", "reveal": "linear", "steps": 3}, (0.0,)),
]


@pytest.mark.parametrize(("settings", "share"), [(s, w) for s, shares in EXACT for w in shares], ids=str)
def test_a_begun_decode_draws_what_the_process_and_the_data_say(settings, share):
    """One image of three tokens, corrupted to t = 0.6 and drawn back with the optimal denoiser; beginning elsewhere is far off."""
    data, process, denoiser = toy(share)
    n, start, begin = 20_000, [0, 2, 1], 0.6
    known = torch.tensor([start]).expand(n, 3)
    config = asked(**{"steps": 48, **settings})
    labels = torch.zeros(n, dtype=torch.long)
    out = sample(denoiser, process, config, labels, 0, (1, 3), FastStreams(n, 2), known, begin=begin)
    assert variation(out, kernel(process, data, start, begin)) < 0.03
    assert variation(out, kernel(process, data, start, begin - 0.15)) > 0.06


CLOCKS = [
    s for s in SAMPLERS if s["sampler"] not in ("confidence", "entropy", "margin", "halton", "first_hitting")
]


@pytest.mark.parametrize("begin", [0.03, 0.5, 1.0])
@pytest.mark.parametrize("settings", CLOCKS, ids=named)
def test_times_run_from_the_beginning_to_zero(settings, begin):
    """No step starts above the beginning, none goes back up, and the last ends at 0."""
    steps, rule = 9, asked(**settings).sampler
    state = DecodeState(
        HYBRID,
        known_codes(1),
        torch.ones(1, TOKENS, dtype=torch.bool),
        ImageStreams(0, [0]),
        steps=steps,
        begin=begin,
    )
    times = []
    for state.step in range(steps):
        rule.schedule(state)
        times.append((float(state.t), float(state.s)))
    assert times[0][0] == begin and times[-1][1] == 0
    assert all(begin >= t >= s >= 0 for t, s in times)
    assert all(
        s == (later if rule.name != "predictor_corrector" else min(s, later))
        for (_, s), (later, _) in zip(times, times[1:])
    )


STIRRING = [
    ({"sampler": "ctmc", "eta": 1.0}, (0.0, 0.2)),
    ({"sampler": "renoise", "eta": 1.0}, (0.2, 1.0)),
    ({"sampler": "remask", "eta": 0.05}, (0.0, 0.2)),
    ({"sampler": "predictor_corrector", "eta": 1.0}, (0.0, 0.2)),
]


@pytest.mark.parametrize(("settings", "share"), [(s, w) for s, shares in STIRRING for w in shares], ids=str)
def test_rules_that_stir_keep_the_distribution_of_the_data(settings, share):
    """They forget more of an image than its corruption did; but images of the data stay images of the data."""
    data, process, denoiser = toy(share)
    n, begin = 10_000, 0.6
    index = torch.multinomial(data, n, replacement=True, generator=torch.Generator().manual_seed(5))
    known = torch.stack([index // 9, index // 3 % 3, index % 3], 1)
    config = asked(**{"steps": 24, **settings})
    out = sample(
        denoiser,
        process,
        config,
        torch.zeros(n, dtype=torch.long),
        0,
        (1, 3),
        FastStreams(n, 2),
        known,
        begin=begin,
    )
    assert variation(out, data) < 0.05
    assert 0.05 < float((out == known).double().mean()) < 0.95


def test_a_process_that_keeps_codes_at_the_end_can_be_begun_before_it():
    process = Process(CODES, ConstantShare("linear", 1 / 9, end=0.135), 1)
    known = known_codes(2)
    out = begun(0.9, {"sampler": "ancestral", "steps": 1}, known, process=process)
    assert out.shape == known.shape
    with pytest.raises(ConfigError, match=r"process\.end"):
        begun(1.0, {"sampler": "ancestral", "steps": 1}, known, process=process)


def test_impossible_beginnings_are_refused():
    for begin in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigError, match=r"^begin="):
            begun(begin, {}, known_codes(1))
    with pytest.raises(ConfigError, match=r"^known="):
        labels, streams = torch.zeros(1, dtype=torch.long), ImageStreams(0, [0])
        sample(noise_denoiser(CODES), HYBRID, asked(steps=2), labels, 1, GRID, streams, begin=0.5)
