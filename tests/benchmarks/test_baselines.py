"""The baselines learn, and draw what they should: small cases that can be enumerated, and the whole command on digits."""

from __future__ import annotations

import json
import math

import pytest
import torch
from helpers import reference
from helpers.asking import asked
from torch.nn import functional as F

from benchmarks.baselines import entries, training
from benchmarks.baselines.argmax_flow import ArgmaxFlow
from benchmarks.baselines.autoregressive import Autoregressive
from benchmarks.baselines.dense_d3pm import DenseD3PM, matrices, products
from benchmarks.baselines.masked_diffusion import MaskedDiffusion
from benchmarks.baselines.maskgit import MaskGIT
from benchmarks.baselines.problem import Problem
from benchmarks.baselines.spline import spline, unspline
from d3pm_image.config import DenoiserConfig, DiffusionRun, ProcessConfig, TrainConfig
from d3pm_image.diffusion import Process
from d3pm_image.diffusion import posterior as library_posterior
from d3pm_image.training.random import StepRandom
from scripts import baseline_plots

NETWORK = DenoiserConfig(width=32, depth=2, heads=2)
PROBLEM = Problem(8, 2, (3, 3), NETWORK)
PAIR = Problem(3, 1, (1, 2), NETWORK)


def spoiled(baseline, size: float = 0.3):
    """The baseline with weights that say something: a network's head begins at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in baseline.model.parameters():
            p.add_(size * torch.randn_like(p) * (p.std() if p.std() > 0 else 0.3))
    baseline.model.eval()
    return baseline


def stream(batch: int, step: int = 0) -> StepRandom:
    return StepRandom(0, step, batch, slice(0, batch), torch.device("cpu"))


def test_a_budget_is_of_time_inside_steps_or_of_steps():
    assert training.Budget(seconds=4).share(2, 1, 9) == 0.5
    assert training.Budget(seconds=4, clock="cpu").share(2, 1, 9) == 0.25
    assert training.Budget(steps=18).share(2, 1, 9) == 0.5


def frequencies(drawn: torch.Tensor, k: int) -> torch.Tensor:
    """Shares of all pairs (k²) of codes (n, 2)."""
    return torch.bincount(drawn[:, 0] * k + drawn[:, 1], minlength=k * k) / len(drawn)


def test_the_autoregressive_sampler_draws_from_its_own_likelihood():
    baseline = spoiled(Autoregressive(PAIR))
    pairs, labels = torch.cartesian_prod(torch.arange(3), torch.arange(3)), torch.zeros(9, dtype=torch.int64)
    for guidance in (1.0, 1.5):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = baseline.logits(pairs, labels)
            none = baseline.logits(pairs, labels + 1)
        log_p = (
            torch.log_softmax(none + guidance * (logits - none), -1)
            .gather(-1, pairs[..., None])[..., 0]
            .sum(1)
        )
        assert abs(float(log_p.exp().sum()) - 1) < 1e-5
        assert log_p.max() - log_p.min() > 0.5  # else any sampler would do
        drawn = baseline.sample(torch.zeros(20_000, dtype=torch.int64), 2, 0, guidance)
        assert (frequencies(drawn, 3) - log_p.exp()).abs().max() < 0.015
    assert all(block.attention.kept is None for block in baseline.model.blocks)


def test_a_code_is_predicted_from_earlier_codes_alone_and_kept_keys_change_nothing():
    baseline = spoiled(Autoregressive(PROBLEM))
    codes, labels = torch.randint(8, (4, 9)), torch.tensor([0, 1, 2, 0])
    with torch.no_grad():
        whole = baseline.logits(codes, labels)
        changed = codes.clone()
        changed[:, 5] = (changed[:, 5] + 1) % 8
        other = baseline.logits(changed, labels)
    assert torch.equal(whole[:, :6], other[:, :6]) and not torch.equal(whole[:, 6:], other[:, 6:])
    model = baseline.model
    before = F.pad(codes[:, :-1], (1, 0), value=8)
    with torch.no_grad():
        model.keep(4, model.head.weight)
        for block in model.blocks:
            block.attention.kept = tuple(part.float() for part in block.attention.kept)
        steps = torch.cat([model.decode(before[:, n : n + 1], labels, n) for n in range(9)], 1)
        model.keep(0, model.head.weight)
    torch.testing.assert_close(steps, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kind", "process"), [("uniform", {"uniform_share": 1.0, "corruption": "offset_cosine"}), ("absorbing", {"uniform_share": 0.0, "corruption": "linear"})])  # fmt: skip
def test_dense_matrices_are_the_library_s_process(kind, process):
    k, steps = 5, 12
    ours = Process.from_config(ProcessConfig(steps=steps, **process), k)
    bar = products(matrices(kind, k, steps))
    torch.testing.assert_close(bar.sum(-1), torch.ones(bar.shape[:2], dtype=torch.float64))
    for t in range(1, steps + 1):
        expected = reference.transition(ours, 0, t / steps)
        torch.testing.assert_close(bar[t], expected[: bar.shape[-1], : bar.shape[-1]], rtol=0, atol=1e-12)
    dense = DenseD3PM(Problem(k, 1, (1, 4), NETWORK), kind, steps)
    x_0, t = torch.randint(k, (64, 4)), torch.arange(64) % (steps - 1) + 2
    x_t = dense.corrupt(x_0, t, torch.rand(64, 4, dtype=torch.float64))
    q = dense.posterior(F.one_hot(x_0, dense.states).float(), x_t, t - 1, t)
    expected = library_posterior(ours, x_0, x_t, t.double() / steps, (t - 1).double() / steps)
    torch.testing.assert_close(q.double(), expected[..., : dense.states], rtol=1e-4, atol=1e-5)


def test_a_long_step_of_the_dense_process_is_its_steps_multiplied():
    dense = DenseD3PM(Problem(5, 1, (1, 4), NETWORK), "uniform", 12)
    x_0, x_t = torch.randint(5, (8, 4)), torch.randint(5, (8, 4))
    s, t = torch.full((8,), 3), torch.full((8,), 9)
    q = dense.posterior(F.one_hot(x_0, 5).float(), x_t, s, t, products(dense.one_step[3:9])[-1])
    process = Process.from_config(ProcessConfig(steps=12, uniform_share=1.0, corruption="offset_cosine"), 5)
    expected = library_posterior(process, x_0, x_t, t.double() / 12, s.double() / 12)[..., :5]
    torch.testing.assert_close(q.double(), expected, rtol=1e-3, atol=1e-4)


def known(baseline, p: torch.Tensor):
    """A network that predicts p (N, K) whatever it sees."""

    class Known(torch.nn.Module):
        num_classes = baseline.problem.num_classes

        def __init__(self):
            super().__init__()
            self.head = torch.nn.Identity()

        def forward(self, x_t, level, labels, grid, head=True):
            return p.log().expand(len(x_t), *p.shape).float()

    baseline.model = Known()
    return baseline


@pytest.mark.parametrize(
    "make",
    [
        MaskedDiffusion,
        MaskGIT,
        lambda p: DenseD3PM(p, "uniform", 40),
        lambda p: DenseD3PM(p, "absorbing", 40),
    ],
    ids=["masked diffusion", "MaskGIT", "dense uniform", "dense absorbing"],
)
def test_a_sampler_draws_independent_tokens_from_what_is_predicted(make):
    """Tokens that do not depend on each other: the leave-one-out prediction is their distribution, and every sampler must draw it."""
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
    truth = (p[0][:, None] * p[1][None]).flatten()
    baseline = known(make(PAIR), p)
    # MaskGIT in one pass: with more it keeps likely codes, as it should
    for calls in (1,) if isinstance(baseline, MaskGIT) else (1, 2, 7):
        drawn = baseline.sample(torch.zeros(20_000, dtype=torch.int64), calls, 0)
        assert (frequencies(drawn, 3) - truth).abs().max() < 0.015, calls


def test_the_bound_of_masked_diffusion_is_the_cross_entropy_of_independent_tokens():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], dtype=torch.float64)
    baseline = known(MaskedDiffusion(PAIR), p)
    codes = torch.stack([torch.multinomial(row, 4000, replacement=True, generator=torch.Generator().manual_seed(i)) for i, row in enumerate(p)], 1)  # fmt: skip
    exact = -float(p.log().gather(1, codes.T).mean())
    found = (
        sum(
            float(baseline.loss(codes, torch.zeros(4000, dtype=torch.int64), stream(4000, i)))
            for i in range(20)
        )
        / 20
    )
    assert abs(found - exact) < 0.02


def test_maskgit_masks_a_set_number_of_codes():
    random = stream(512)
    rates = (9 * torch.cos(stream(512).uniform() * math.pi / 2)).ceil().clamp_min(1)
    masked = MaskGIT.masks(9, random)
    assert torch.equal(masked.sum(1).double(), rates)
    assert (masked.double().mean(0) - masked.double().mean()).abs().max() < 0.08  # every place as often


def test_splines_are_inverted_and_know_their_slope():
    torch.manual_seed(0)
    x = torch.linspace(-7, 7, 301, dtype=torch.float64).requires_grad_()
    parameters = 2 * torch.randn(301, 23, dtype=torch.float64)
    y, log_slope = spline(x, parameters)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(unspline(y, parameters), x, rtol=0, atol=1e-8)
    plain, none = spline(x, torch.zeros_like(parameters))
    torch.testing.assert_close(plain, x, rtol=0, atol=1e-9)
    assert none.abs().max() < 1e-9


def test_a_flow_is_inverted_knows_its_volume_and_keeps_the_codes():
    problem = Problem(6, 2, (2, 2), NETWORK)
    flow = spoiled(ArgmaxFlow(problem), 0.1)
    codes, labels = torch.randint(6, (16, 4)), torch.arange(16) % 3
    noise = torch.randn(16, 4, flow.model.digits)
    v, log_q = flow.dequantise(codes, labels, noise)
    assert torch.equal(flow.codes(v), codes)
    # q's density is that of its own change of variables, number by number
    u = noise.clone().requires_grad_()
    moved, _ = flow.dequantise(codes, labels, u)
    (slope,) = torch.autograd.grad(moved.sum(), u)
    expected = torch.distributions.Normal(0, 1).log_prob(noise) - slope.abs().log()
    torch.testing.assert_close(log_q, expected, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        z, log_p = flow.density(v, labels)
        torch.testing.assert_close(flow.invert(z, labels), v, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(z, v, atol=0.1)
    one = v[:1].detach()
    jacobian = torch.autograd.functional.jacobian(
        lambda x: flow.density(x, labels[:1])[0].flatten(), one
    ).view(12, 12)
    exact = torch.linalg.slogdet(jacobian)[1] + torch.distributions.Normal(0, 1).log_prob(z[0]).sum()
    torch.testing.assert_close(log_p[0], exact, rtol=1e-3, atol=1e-3)


def test_the_bound_of_a_flow_is_above_the_surprise_of_what_it_draws():
    """E_q[log p(v) - log q] ≤ log P(x): with P(x) counted from samples of the flow, for every code of a single token."""
    problem = Problem(4, 1, (1, 1), NETWORK)
    flow = spoiled(ArgmaxFlow(problem), 0.1)
    drawn = flow.sample(torch.zeros(40_000, dtype=torch.int64), 1, 0)[:, 0]
    surprise = -(torch.bincount(drawn, minlength=4) / len(drawn)).log()
    for code in range(4):
        with torch.no_grad():
            bound = float(
                flow.loss(torch.full((8000, 1), code), torch.zeros(8000, dtype=torch.int64), stream(8000))
            )
        assert bound > float(surprise[code]) - 0.03


def test_rows_of_the_study_hold_the_calls_they_say():
    rows = entries.study("hybrid", 49)
    assert {(r.calls, r.settings["correct_steps"]) for r in rows} == {(8, 0), (8, 2), (16, 0), (16, 4)}
    assert len({r.sampler for r in rows}) == 3
    assert {r.settings["correct_steps"] for r in entries.study("absorbing", 49)} == {0}
    assert entries.selected(["share"]) == ["hybrid", "absorbing", "share_0.05", "share_0.2", "share_0.5"]
    with pytest.raises(SystemExit, match="no entry"):
        entries.selected(["maskgot"])


def test_no_row_asks_a_sampler_for_more_calls_than_it_can_make():
    ours = {"hybrid": ("cosine", 0.1), "absorbing": ("cosine", 0.0)}
    for name, (curve, share) in ours.items():
        rows = entries.peers(name, [4, 64], 49, [1.0])
        for row in rows:
            config = asked(steps=row.calls, **row.settings)
            config.check_fit(
                Process.from_config(ProcessConfig(corruption=curve, uniform_share=share), 512), (7, 7)
            )
        assert {row.calls for row in rows if "ancestral" in row.sampler} == {
            4,
            64,
        } and name in entries.ENTRIES


def test_plots_show_every_method_and_share(tmp_path):
    cases = [c for name in entries.selected([]) for c in entries.peers(name, [4, 8], 49, [1.0, 1.5])]
    cases += [c for name in entries.GROUPS["share"] for c in entries.study(name, 49)]
    rows = [
        {"group": c.group, "entry": c.entry, "sampler": c.sampler, "calls": c.calls, "guidance": c.guidance}
        | {"correct_steps": c.settings.get("correct_steps", 0), "seconds_per_1000": float(c.calls)}
        | {"frechet_distance": 1 + n % 7 / 10}
        for n, c in enumerate(cases)
    ]
    (tmp_path / "results.json").write_text(json.dumps({"rows": rows}))
    lines = baseline_plots.methods_figure(tmp_path / "results.json").axes[0].get_lines()
    assert {line.get_label() for line in lines} == {
        entries.ENTRIES[name].title for name in entries.GROUPS["peers"]
    }
    hybrid = next(line for line in lines if line.get_label() == "ours, hybrid").get_xydata()
    own = [r for r in rows if (r["group"], r["entry"], r["guidance"]) == ("peers", "hybrid", 1)]
    least = {calls: min(r["frechet_distance"] for r in own if r["calls"] == calls) for calls in (4, 8)}
    assert hybrid.tolist() == [list(point) for point in least.items()]
    for axes in baseline_plots.share_figure(tmp_path / "results.json").axes:
        solid, dashed = axes.get_lines()[::2], axes.get_lines()[1::2]
        assert len(solid) == 3 and all(len(line.get_xdata()) == 5 for line in solid)
        assert all(line.get_xdata().tolist() == [1, 2, 3, 4] for line in dashed)  # masks alone cannot correct


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_baselines_train_in_the_precision_that_auto_is(precision, monkeypatch):
    """As the trainer does; a configuration that says auto would else train in float32 everywhere."""
    monkeypatch.setenv("D3PM_IMAGE_PRECISION", precision)
    run = DiffusionRun(process=ProcessConfig(steps=50))
    steps = training.Steps(entries.ENTRIES["absorbing"].make(PROBLEM, run), TrainConfig(), 0.1, "cpu")
    assert steps.half is (precision == "bf16")


@pytest.mark.parametrize("kernel", ["gaussian", "nearest"])
def test_kernels_know_what_the_codes_stand_for(kernel):
    """Codes 0 and 39 are nearly alike, which their numbers do not say."""
    places = torch.arange(40.0)[[0, 39, *range(2, 39), 1]][:, None]
    problem = Problem(40, 2, (3, 3), NETWORK, vectors=lambda: places)
    made = entries.ENTRIES[kernel].make(problem, DiffusionRun(process=ProcessConfig(steps=50)))
    generator = made.process.kernel.generator
    assert generator[0, 39] > 2 * generator[0, 1]
