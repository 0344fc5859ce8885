"""Which samplers draw from the model's own distribution: measured on three tokens of three codes under the
optimal network.

    python scripts/exactness.py docs/results/sampler_exactness.json

All 27 clean states can be enumerated, so the best leave-one-out prediction is known, and what a sampler
draws is compared with the truth in total variation, as the mean over :data:`GROUPS` groups of
:data:`IMAGES`. So many images of the truth itself are off by a distance too, the floor. A sampler is called
exact where it is within :data:`BOUND` times the floor, with a token per step for samplers that reveal an
equal part of the masks in each, else with :data:`STEPS` steps. (With :data:`FEW` steps these are all
visibly worse.)

The network is told the level of every token (``known_share`` > 0), but for the case that says otherwise.
tests/integration/test_exactness.py computes the table again; scripts.results writes it into
docs/samplers.md."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from d3pm_image.config import SamplingConfig
from d3pm_image.diffusion import ConstantShare, Process
from d3pm_image.sampling.choice import make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams

K, N, IMAGES, GROUPS = 3, 3, 5_000, 4
FEW, STEPS = 16, 256
BOUND = 1.5
STATES, NOISY = (torch.cartesian_prod(*[torch.arange(k)] * N) for k in (K, K + 1))
TOKEN_PER_STEP = ("confidence", "entropy", "margin", "halton", "first_hitting")
ROWS: dict[str, dict] = {
    "confidence": {},
    "entropy": {},
    "margin": {},
    "halton": {},
    "ancestral": {},
    "purity": {},
    "purity, τ 0": {"gumbel": 0.0},
    "first_hitting": {},
    "ctmc": {},
    "ctmc, η 1": {"eta": 1.0},
    "renoise": {},
    "remask": {},
    "remask, rescale": {"strategy": "rescale"},
    "remask, confidence": {"strategy": "confidence"},
    "remask, loop, η 0.5": {"strategy": "loop", "eta": 0.5},
    "predictor_corrector": {},
}


@dataclass(frozen=True)
class Case:
    """What is drawn, and what the network knows of it.

    Args:
        share: Share of the corrupted tokens that carry a random code.
        given: Whether the first token is known, :data:`KNOWN`.
        begin: Noise level at which the decode begins, from images of the truth.
        told: Whether the network takes a level per token.
    """

    share: float
    given: bool = False
    begin: float = 1.0
    told: bool = True


CASES = {
    "absorbing": Case(0.0),
    "hybrid": Case(0.2),
    "uniform": Case(1.0),
    "absorbing, known": Case(0.0, given=True),
    "hybrid, known": Case(0.2, given=True),
    "uniform, known": Case(1.0, given=True),
    "hybrid, known, one level": Case(0.2, given=True, told=False),
    "absorbing, half": Case(0.0, begin=0.5),
    "hybrid, known, half": Case(0.2, given=True, begin=0.5),
    "uniform, known, half": Case(1.0, given=True, begin=0.5),
}
KNOWN = 0  # the code of the first token, where it is given


def settings(row: str, steps: int = STEPS) -> Request:
    """A row of the table at its number of steps; what it does not name is the sampler's own default."""
    sampler = row.split(",")[0]
    steps = N if sampler in TOKEN_PER_STEP else steps
    return Request(make_sampler(sampler, **ROWS[row]), SamplingConfig(steps=steps))


class Optimal:
    """p(token | all others, κ of each) of an enumerable distribution; answered once for each of the 64 noisy
    states, as all images in one state are told the same."""

    def __init__(self, data: Tensor, token_levels: bool):
        self.data, self.token_levels = data, token_levels

    def __call__(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: tuple[int, int],
        where: Tensor | None = None,
    ) -> Tensor:
        place = (x_t * torch.tensor([(K + 1) ** 2, K + 1, 1])).sum(1)
        level = torch.ones(NOISY.shape, dtype=torch.float64)
        level[place] = (kappa if kappa.ndim == 2 else kappa[:, None].expand_as(x_t)).double()
        return self.answer(NOISY, level)[place]

    def answer(self, x_t: Tensor, kappa: Tensor) -> Tensor:
        level, rest = kappa[..., None], ((1 - kappa) / K)[..., None]
        unmasked = level * (x_t[..., None] == torch.arange(K)) + rest
        evidence = torch.where((x_t == K)[..., None], 1.0, unmasked).double()
        per_state = torch.stack([evidence[:, i][:, STATES[:, i]] for i in range(N)], 1)  # (B, N, states)
        out = torch.empty(*x_t.shape, K, dtype=torch.float64)
        for i in range(N):
            others = per_state[:, [j for j in range(N) if j != i]].prod(1) * self.data
            for code in range(K):
                out[:, i, code] = others[:, STATES[:, i] == code].sum(-1)
        return out.clamp_min(1e-300).log()


class OneStream(ImageStreams):
    """One generator for all images: thousands of them need not be independent of their number here."""

    def __init__(self, count: int, seed: int):
        self.count, self.generator = count, torch.Generator().manual_seed(seed)

    def take(self, images: list[int]) -> OneStream:
        part = OneStream(len(images), 0)
        part.generator = self.generator
        return part

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, dtype=torch.float64, generator=self.generator)


def truth(case: Case) -> tuple[Tensor, Tensor]:
    """The distribution of all images, and of those that a case may draw, (27,) each."""
    generator = torch.Generator().manual_seed(0)
    data = torch.softmax(2.5 * torch.randn(K**N, generator=generator, dtype=torch.float64), 0)
    drawn = torch.where(STATES[:, 0] == KNOWN, data, torch.zeros_like(data)) if case.given else data
    return data, drawn / drawn.sum()


def off(numbers: Tensor, expected: Tensor) -> float:
    """Mean total variation of groups of images, by the numbers (groups, images) of their states."""
    counts = torch.stack([torch.bincount(group, minlength=K**N) for group in numbers]).double()
    return float((counts / numbers.shape[1] - expected).abs().sum(1).mean() / 2)


def floor(case: Case, repeats: int = 400) -> float:
    """Mean total variation of so many images of the truth itself."""
    _, expected = truth(case)
    generator = torch.Generator().manual_seed(0)
    numbers = torch.multinomial(expected.expand(repeats, -1), IMAGES, True, generator=generator)
    return off(numbers, expected)


def distance(request: Request, case: Case, groups: int = GROUPS, seed: int = 0) -> float:
    """Mean total variation between what a sampler draws and the distribution that it should draw from."""
    data, expected = truth(case)
    generator, images = torch.Generator().manual_seed(seed), groups * IMAGES
    process = Process(K, ConstantShare("linear", case.share), 0)
    known = STATES[torch.multinomial(expected, images, True, generator=generator)]
    unknown = torch.ones(images, N, dtype=torch.bool)
    unknown[:, 0] = not case.given
    labels, streams = torch.zeros(images, dtype=torch.long), OneStream(images, seed + 1)
    network = Optimal(data, case.told)
    drawn = sample(network, process, request, labels, 0, (1, N), streams, known, unknown, case.begin)
    return off((drawn * torch.tensor([K * K, K, 1])).sum(1).view(groups, IMAGES), expected)


def fits(row: str, case: str) -> bool:
    """Whether a process of this kind can be sampled so: samplers of masks need masks."""
    return CASES[case].share < 1 or row.split(",")[0] in (
        "ancestral", "ctmc", "renoise", "predictor_corrector",
    )  # fmt: skip


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path)
    parser.add_argument("--groups", type=int, default=GROUPS)
    args = parser.parse_args()
    distances: dict[str, dict[str, dict[str, float]]] = {}
    for row in ROWS:
        requests = {str(r.sampling.steps): r for r in (settings(row, FEW), settings(row, STEPS))}
        distances[row] = {}
        for case in (case for case in CASES if fits(row, case)):
            found = {
                steps: distance(request, CASES[case], args.groups) for steps, request in requests.items()
            }
            distances[row][case] = {steps: round(value, 4) for steps, value in found.items()}
        print(f"{row:24}", distances[row], flush=True)
    floors = {name: round(floor(case), 4) for name, case in CASES.items()}
    results = {
        "images": IMAGES, "groups": args.groups, "bound": BOUND, "floors": floors, "distances": distances,
    }  # fmt: skip
    args.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
