"""Which samplers draw from the model's own distribution: measured on three tokens of three codes under the
optimal network.

    python scripts/exactness.py docs/results/sampler_exactness.json

All 27 clean states can be enumerated, so the best leave-one-out prediction is known, and what a sampler draws
is compared with the truth in total variation. A sampler is called exact where that distance is below
:data:`BOUND`, with a token per step for samplers that reveal an equal part of the masks in each, else with
:data:`STEPS` steps. (With :data:`FEW` steps these are all visibly worse.) tests/integration/test_exactness.py
computes the table again; scripts.results writes it into docs/samplers.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from d3pm_image.config import SamplingConfig
from d3pm_image.diffusion import ConstantShare, Process, Schedule
from d3pm_image.sampling.choice import make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams

K, N, IMAGES = 3, 3, 50_000
FEW, STEPS = 16, 256
BOUND = 0.023
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
CASES = {
    "absorbing": (0.0, False),
    "hybrid": (0.2, False),
    "uniform": (1.0, False),
    "absorbing, known": (0.0, True),
    "hybrid, known": (0.2, True),
}
KNOWN = 0  # the code of the first token, where it is given


def settings(row: str, steps: int = STEPS) -> Request:
    """A row of the table at its number of steps; what it does not name is the sampler's own default."""
    sampler = row.split(",")[0]
    steps = N if sampler in TOKEN_PER_STEP else steps
    return Request(make_sampler(sampler, **ROWS[row]), SamplingConfig(steps=steps))


class Optimal:
    """p(token | all others, κ) of an enumerable distribution; answered once for each of the 64 noisy
    states."""

    def __init__(self, data: Tensor, schedule: Schedule):
        self.data, self.schedule = data, schedule

    def __call__(
        self,
        x_t: Tensor,
        kappa: Tensor,
        labels: Tensor,
        grid: tuple[int, int],
        where: Tensor | None = None,
    ) -> Tensor:
        place = (x_t * torch.tensor([(K + 1) ** 2, K + 1, 1])).sum(1)
        level = torch.ones(len(NOISY), dtype=torch.float64)
        level[place] = kappa.double()  # the same for all images in one state
        return self.answer(NOISY, level)[place]

    def answer(self, x_t: Tensor, kappa: Tensor) -> Tensor:
        level, rest = kappa[:, None, None], ((1 - kappa) / K)[:, None, None]
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


def distance(request: Request, case: str, images: int = IMAGES, seed: int = 0) -> float:
    """Total variation between what a sampler draws and the distribution that it should draw from."""
    share, given = CASES[case]
    generator = torch.Generator().manual_seed(seed)
    data = torch.softmax(2.5 * torch.randn(K**N, generator=generator, dtype=torch.float64), 0)
    process = Process(K, ConstantShare("linear", share), 0)
    known, unknown, truth = torch.full((images, N), KNOWN), torch.ones(images, N, dtype=torch.bool), data
    if given:
        unknown[:, 0] = False
        truth = torch.where(STATES[:, 0] == KNOWN, data, torch.zeros_like(data))
        truth = truth / truth.sum()
    labels, streams = torch.zeros(images, dtype=torch.long), OneStream(images, seed + 1)
    network = Optimal(data, process.schedule)
    drawn = sample(network, process, request, labels, 0, (1, N), streams, known, unknown)
    index = (drawn * torch.tensor([K * K, K, 1])).sum(1)
    return float((torch.bincount(index, minlength=K**N).double() / images - truth).abs().sum() / 2)


def fits(row: str, case: str) -> bool:
    """Whether a process of this kind can be sampled so: samplers of masks need masks."""
    return case != "uniform" or row.split(",")[0] in ("ancestral", "ctmc", "renoise", "predictor_corrector")


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    args = parser.parse_args()
    distances: dict[str, dict[str, dict[str, float]]] = {}
    for row in ROWS:
        requests = {str(r.sampling.steps): r for r in (settings(row, FEW), settings(row, STEPS))}
        distances[row] = {}
        for case in (case for case in CASES if fits(row, case)):
            found = {steps: distance(request, case, args.images) for steps, request in requests.items()}
            distances[row][case] = {steps: round(value, 4) for steps, value in found.items()}
        print(f"{row:24}", distances[row], flush=True)
    results = {"images": args.images, "bound": BOUND, "distances": distances}
    args.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
