"""Losses over large codebooks: time and peak memory, forward and backward.

Two tables in one run. ``head + loss`` starts from features (B·N, D), as a training step does, and gives
gradients of features and head; ``loss alone`` starts from logits. ``dense`` is the textbook's D3PM: a
(K+1)×(K+1) matrix per noise level, one-hot products."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.diffusion import (
    ConstantShare,
    Objective,
    Process,
    bound_terms,
    diffusion_loss,
    fused_loss,
    low_discrepancy_times,
)

from .timing import peak_megabytes, table, take_turns

DENSE_LIMIT = 4096
Shape = tuple[int, int, int]  # B, N, D


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, nargs="+", default=[256, 1024, 4096, 16384])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--skip-memory", action="store_true", help="measure time only")
    args = parser.parse_args(arguments)
    results = []
    for head in (True, False):
        title = "head + loss" if head else "loss alone"
        sizes = f"B {args.batch}, N {args.tokens}, D {args.width}, T 1000, float32"
        print(f"\n{title}: forward and backward, {sizes}")
        found = [row for codes in args.codes for row in measure(codes, head, args, repeats)]
        results += found
        names = ("milliseconds", "ratio_to_cross_entropy", "peak_megabytes")
        rows = [[f"K {row['codes']}", row["loss"], *(row[name] for name in names)] for row in found]
        table(["", "loss", "ms", "x cross-entropy", "peak MB"], rows)
        for codes in args.codes:
            if codes > DENSE_LIMIT:
                size = (codes + 1) ** 2 * 4 / 1e9
                print(f"K {codes}: dense not run, {args.batch} matrices of {size:.2f} GB each, twice")
    return results


def measure(codes: int, head: bool, args: argparse.Namespace, repeats: int) -> list[dict]:
    """Time and memory of each loss at one number of codes."""
    shape = (args.batch, args.tokens, args.width)
    names = ["cross-entropy", "bound"]
    names += ["fused"] if head else []
    names += ["dense"] if codes <= DENSE_LIMIT else []
    seconds = take_turns({name: make_pass(name, codes, shape, head) for name in names}, repeats)
    rows = []
    for name in names:
        memory = math.nan if args.skip_memory else peak_megabytes(make_pass, name, codes, shape, head)
        row = {"from": "features" if head else "logits", "codes": codes, "loss": name}
        ratio = seconds[name] / seconds["cross-entropy"]
        row |= {"milliseconds": seconds[name] * 1e3, "ratio_to_cross_entropy": ratio}
        rows.append(row | {"peak_megabytes": memory})
    return rows


def make_pass(name: str, codes: int, shape: Shape, head: bool, warm: bool = False) -> Callable[[], None]:
    """A call that runs one forward and backward pass; ``warm`` is the same at a toy size."""
    if warm:
        codes, shape = 8, (1, 8, 8)
    batch, tokens, width = shape
    generator = torch.Generator().manual_seed(0)
    process, objective = Process(codes, ConstantShare("linear", 0.1), 1000), Objective(1.0)
    features = torch.randn(batch, tokens, width, generator=generator)
    weight, bias = torch.randn(codes, width, generator=generator) / width**0.5, torch.zeros(codes)
    x_0 = torch.randint(codes, (batch, tokens), generator=generator)
    t = low_discrepancy_times(torch.tensor(0.3), batch, 1000)
    x_t = process.corrupt(x_0, t, torch.rand(batch, tokens, 3, generator=generator, dtype=torch.float64))
    inputs = [features, weight, bias] if head else [F.linear(features, weight, bias)]

    def call() -> None:
        leaves = [p.detach().requires_grad_() for p in inputs]
        if name == "fused":
            loss, _ = fused_loss(process, objective, *leaves, x_0, x_t, t)
        else:
            logits = F.linear(*leaves) if head else leaves[0]
            if name == "cross-entropy":
                loss = F.cross_entropy(logits.flatten(0, 1), x_0.flatten())
            elif name == "bound":
                terms = bound_terms(process, logits, x_0, x_t, t)
                loss = diffusion_loss(process, objective, terms, x_0, x_t, t)
            else:
                loss = dense_bound(process, logits, x_0, x_t, t)
        loss.backward()

    return call


def matrices(process: Process, s: Tensor, t: Tensor) -> Tensor:
    """Q(s→t) for every image, (B, K+1, K+1) float32."""
    k = process.num_codes
    (g_s, kappa_s), (g_t, kappa_t) = process.schedule.survival(s), process.schedule.survival(t)
    g, kappa = ((a / b).float()[:, None, None] for a, b in ((g_t, g_s), (kappa_t, kappa_s)))
    q = torch.zeros(len(s), k + 1, k + 1)
    q[:, :k, :k] = g * (1 - kappa) / k
    q[:, :k, :k] += torch.eye(k) * (g * kappa)
    q[:, :k, k:] = 1 - g
    q[:, k, k] = 1
    return q


def dense_bound(process: Process, logits: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """T·KL(q(x_s | x_t, x_0) ‖ p(x_s | x_t)) with transition matrices and one-hot rows (Austin et al. 2021,
    eq. 3 and 4)."""
    k, s = process.num_codes, (t - 1 / process.steps).clamp_min(0)
    to_s, step = matrices(process, torch.zeros_like(t), s), matrices(process, s, t)
    evidence = F.one_hot(x_t, k + 1).float() @ step.transpose(1, 2)
    exact = F.one_hot(x_0, k + 1).float() @ to_s * evidence
    clean = torch.cat([logits.softmax(-1), torch.zeros(*x_0.shape, 1)], -1)
    model = clean @ to_s * evidence
    exact, model = (p / p.sum(-1, keepdim=True).clamp_min(1e-30) for p in (exact, model))
    kl = torch.xlogy(exact, exact) - exact * model.clamp_min(1e-30).log()
    return process.steps * kl.sum(-1).mean()
