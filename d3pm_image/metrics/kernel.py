"""Kernel distance of two feature sets (KID, Bińkowski et al. 2018): the unbiased squared maximum mean
discrepancy of the kernel (x·y/F + 1)³.

It has no bias from the number of images, as the Fréchet distance has, and comes with a standard error: a
jackknife over groups of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUPS = 20


@dataclass(frozen=True)
class KernelDistance:
    """The distance, which may be slightly negative for sets of the same distribution, and its standard
    error."""

    value: float
    standard_error: float


def kernel_distance(a: Tensor, b: Tensor, seed: int = 0) -> KernelDistance:
    """Distance of features (n, F) and (m, F), n and m at least 2, in float64. Memory: (n/20) · max(n, m)
    numbers.

    The error leaves out one group of both sets at a time; groups are drawn with ``seed``, and the value
    itself does not depend on it. With less than four images in a set it is NaN.
    """
    assert min(len(a), len(b)) >= 2 and a.shape[1] == b.shape[1]
    groups = min(GROUPS, len(a) // 2, len(b) // 2)
    generator = torch.Generator().manual_seed(seed)
    parts = [_split(features.double(), groups, generator) for features in (a, b)]
    sums = {
        pair: _block_sums(parts[pair[0]], parts[pair[1]], pair[0] == pair[1])
        for pair in ((0, 0), (1, 1), (0, 1))
    }
    sizes = [torch.tensor([len(part) for part in side], dtype=torch.float64) for side in parts]

    def estimate(keep: Tensor) -> float:
        """The distance of the groups that are kept: weights (groups,) of 0 and 1."""
        n, m = (float((size * keep).sum()) for size in sizes)
        within = [float(keep @ sums[s, s] @ keep) for s in (0, 1)]
        return (
            within[0] / (n * (n - 1))
            + within[1] / (m * (m - 1))
            - 2 * float(keep @ sums[0, 1] @ keep) / (n * m)
        )

    value = estimate(torch.ones(groups, dtype=torch.float64))
    if groups < 2:
        return KernelDistance(value, float("nan"))
    left = torch.tensor(
        [estimate(1 - row) for row in torch.eye(groups, dtype=torch.float64)], dtype=torch.float64
    )
    return KernelDistance(value, float(((groups - 1) / groups * (left - left.mean()).square().sum()).sqrt()))


def _split(features: Tensor, groups: int, generator: torch.Generator) -> list[Tensor]:
    return list(features[torch.randperm(len(features), generator=generator)].tensor_split(groups))


def _block_sums(a: list[Tensor], b: list[Tensor], same: bool) -> Tensor:
    """Sums (groups, groups) of the kernel between groups; with ``same``, no image is compared with itself."""
    whole, ends = torch.cat(b).T, torch.tensor([len(part) for part in b]).tolist()
    rows = []
    for number, part in enumerate(a):
        kernel = (part @ whole / part.shape[1] + 1) ** 3
        columns = torch.stack([block.sum() for block in kernel.split(ends, dim=1)])
        if same:
            columns[number] -= ((part.square().sum(1) / part.shape[1] + 1) ** 3).sum()
        rows.append(columns)
    return torch.stack(rows)
