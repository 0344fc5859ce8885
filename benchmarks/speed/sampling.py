"""Samplers on one untrained denoiser: images per second, and the share of the time spent outside the
denoiser.

The network has at least 20M parameters, K = 1024 codes and N = 256 tokens, and its logits are those of random
weights: what is measured does not depend on what they say. One sampler of every kind, all with the same
number of steps, in turn."""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from d3pm_image.config import DenoiserConfig, ProcessConfig, SamplingConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.diffusion import Process
from d3pm_image.sampling.choice import SHARED, make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams

from .timing import table

SETTINGS: dict[str, dict] = {
    "confidence": {},
    "entropy": {"sampler": "entropy"},
    "margin": {"sampler": "margin"},
    "halton": {"sampler": "halton"},
    "ancestral": {"sampler": "ancestral"},
    "purity": {"sampler": "purity"},
    "first_hitting": {"sampler": "first_hitting"},
    "ctmc, η 1": {"sampler": "ctmc", "eta": 1.0},
    "renoise, η 1": {"sampler": "renoise", "eta": 1.0},
    "remask, cap": {"sampler": "remask"},
    "remask, loop": {"sampler": "remask", "strategy": "loop"},
    "predictor_corrector": {"sampler": "predictor_corrector", "eta": 1.0},
    "confidence, guidance 2": {"guidance": 2.0},
    "confidence, guidance 2 in the last half": {"guidance": 2.0, "guidance_from": 0.5},
    "ancestral, top_p 0.9": {"sampler": "ancestral", "top_p": 0.9},
}


class Timed(torch.nn.Module):
    """The denoiser, adding up the time it takes; with ``where`` the head runs at the wanted positions
    alone."""

    def __init__(self, network: Transformer, half: bool):
        super().__init__()
        self.network, self.half, self.seconds = network, half, 0.0

    def forward(self, x_t, kappa, labels, grid, where):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            features = self.network(x_t, kappa, labels, grid, head=False)
            wanted = self.network.head(features[where]).float()
        logits = wanted.new_zeros(*x_t.shape, wanted.shape[-1])
        logits[where] = wanted
        self.seconds += time.perf_counter() - began
        return logits


def request_of(steps: int, settings: dict) -> Request:
    """A request with the settings of one entry, a sampler's own and shared ones."""
    shared = {name: value for name, value in settings.items() if name in SHARED}
    own = {name: value for name, value in settings.items() if name not in ("sampler", *SHARED)}
    sampler = make_sampler(settings.get("sampler", "confidence"), **own)
    return Request(sampler, SamplingConfig(steps=steps, **shared))


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args(arguments)
    denoiser = DenoiserConfig(width=args.width, depth=args.depth, heads=args.width // 64)
    network = Transformer(denoiser, args.codes, 10).eval()
    torch.nn.init.normal_(network.head.weight, std=0.05)
    millions, precision = (
        sum(p.numel() for p in network.parameters()) / 1e6,
        "bf16" if args.bf16 else "float32",
    )
    sizes = f"K {args.codes}, N {args.side**2}, B {args.batch}"
    print(f"{millions:.1f}M parameters, {sizes}, {args.steps} steps, {precision}")
    rows, results = [], []
    for name, values in times(Timed(network, args.bf16), args, repeats).items():
        total, inside = (statistics.median(column) for column in zip(*values, strict=True))
        outside = statistics.median(1 - b / a for a, b in values)
        rate = args.batch / total
        rows.append([name, rate, total, f"{outside:.1%}"])
        row = {"sampler": name, "images_per_s": rate, "seconds": total, "denoiser_seconds": inside}
        results.append(row | {"outside_denoiser": outside})
    table(["", "images/s", "s", "outside the denoiser"], rows)
    return results


def times(network: Timed, args: argparse.Namespace, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each entry, all of them and those inside the denoiser; one round runs every entry once,
    after one round to warm up."""
    process = Process.from_config(ProcessConfig(), args.codes)
    labels, grid = torch.arange(args.batch) % 10, (args.side, args.side)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in SETTINGS}
    for round_number in range(repeats + 1):
        for name, settings in SETTINGS.items():
            request, streams = request_of(args.steps, settings), ImageStreams(round_number, range(args.batch))
            network.seconds, began = 0.0, time.perf_counter()
            sample(network, process, request, labels, 10, grid, streams)
            if round_number:
                found[name].append((time.perf_counter() - began, network.seconds))
    return found
