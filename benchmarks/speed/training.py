"""Share of this machine's own matrix-product rate that denoiser training reaches, and where the rest of the time goes.

A network of about 20M parameters on N = 256 tokens, batch 16, in float32 and in bf16 (autocast): forward pass, loss, backward pass and optimizer,
timed apart, in turn with torch's matrix products of the same type: a large square one, and those of the network's own linear layers (forward and
both gradients). Operations are counted by torch's counter; the rate is that of forward, loss and backward over the matrix rate, target 60 %. A profile
lists what the time goes to: matrix products, and everything else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from d3pm_image.config import DenoiserConfig, DiffusionLossConfig, DiffusionRun, TrainConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.estimate.flops import count, diffusion_loss, imagined
from d3pm_image.training.optim import make_optimizers

from .measure import table, take_turns

TARGET = 0.6
CLOCKS = {"wall": time.perf_counter, "processor": lambda: time.process_time() / torch.get_num_threads()}
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "matmul", "mkldnn_linear", "_scaled_dot_product", "convolution")


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--square", type=int, default=2048)
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    parser.add_argument("--fused", action="store_true", help="head and loss together")
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bf16"), default=["float32", "bf16"])
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor: this process's own time a thread, where others share the machine"
    )
    parser.add_argument("--top", type=int, default=14, help="rows of the profile")
    args = parser.parse_args(arguments)
    return [row for precision in args.precisions for row in measure(precision, args, repeats)]


def settings(precision: str, args: argparse.Namespace) -> DiffusionRun:
    heads = max(1, args.width // 64)
    train = TrainConfig(optimizer=args.optimizer, mixed_precision="bf16" if precision == "bf16" else "no", batch_size=args.batch)
    return DiffusionRun(denoiser=DenoiserConfig(args.width, args.depth, heads), loss=DiffusionLossConfig(fused=args.fused), train=train)


def measure(precision: str, args: argparse.Namespace, repeats: int) -> list[dict]:
    """Rates of one precision, printed with the profile of one step."""
    config, grid = settings(precision, args), (args.side, args.side)
    loss = diffusion_loss(config, args.codes, grid, 10, args.batch)
    with imagined():
        costs = count(Transformer(config.denoiser, args.codes, 10), loss, config.train)
    step = Step(Transformer(config.denoiser, args.codes, 10), loss, config.train, CLOCKS[args.clock])
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    square = torch.randn(args.square, args.square).to(kind)
    products, flops_layers = layer_products(step.network, args.batch * args.side**2, kind)
    seconds = take_turns({"square": lambda: square @ square, "layers": products, "step": step}, repeats, CLOCKS[args.clock])
    apart = step.medians()
    rates = {"square": 2 * args.square**3 / seconds["square"], "layers": flops_layers / seconds["layers"]}
    passes = costs.forward_flops + costs.backward_flops
    rates |= {"passes": passes / (apart["forward"] + apart["backward"]), "step": costs.flops / seconds["step"]}
    print(
        f"\n{precision}: {costs.parameters / 1e6:.1f}M parameters, N {args.side**2}, B {args.batch}, K {args.codes}; {costs.flops / 1e9:.1f} GFLOPs a step "
        f"(forward {costs.forward_flops / 1e9:.1f}, backward {costs.backward_flops / 1e9:.1f}, {args.optimizer} {costs.optimizer_flops / 1e9:.1f})"
    )
    rows = [
        [f"matrix product {args.square}²", seconds["square"], rates["square"] / 1e9, ""],
        ["the layers' matrix products", seconds["layers"], rates["layers"] / 1e9, share(rates["layers"], rates["square"])],
        [
            "forward, loss and backward",
            apart["forward"] + apart["backward"],
            rates["passes"] / 1e9,
            share(rates["passes"], rates["square"]),
        ],
        ["  forward and loss", apart["forward"], costs.forward_flops / apart["forward"] / 1e9, ""],
        ["  backward", apart["backward"], costs.backward_flops / apart["backward"] / 1e9, ""],
        [f"optimizer ({args.optimizer})", apart["optimizer"], "", ""],
        ["whole step", seconds["step"], rates["step"] / 1e9, share(rates["step"], rates["square"])],
    ]
    table(["", "s", "GFLOP/s", "of the square"], rows)
    reached = rates["passes"] / rates["square"]
    print(
        f"ratio {reached:.0%} of the square product, {rates['passes'] / rates['layers']:.0%} of the layers' own products; target {TARGET:.0%}"
    )
    top = costliest(step, args.top)
    table(["profile of a step", "ms", "share", "calls"], [[r["name"], r["milliseconds"], f"{r['share']:.1%}", r["calls"]] for r in top])
    print(f"matrix products {sum(r['share'] for r in top if r['product']):.0%} of the step's time, in the rows above")
    figures = {"precision": precision, "parameters": costs.parameters, "flops_a_step": costs.flops, "seconds": seconds | apart}
    return [
        figures
        | {
            "flops_a_second": rates,
            "ratio": reached,
            "ratio_to_layers": rates["passes"] / rates["layers"],
            "profile": top,
            "clock": args.clock,
        }
    ]


def share(rate: float, whole: float) -> str:
    return f"{rate / whole:.0%}"


class Step:
    """One training step on random codes, its parts timed; calling it again goes on training."""

    def __init__(self, network: nn.Module, loss: Callable, train: TrainConfig, clock: Callable[[], float]):
        self.network, self.loss, self.half = network.train(), loss, train.mixed_precision == "bf16"
        self.optimizers, self.clock = make_optimizers(network, train), clock
        self.times: dict[str, list[float]] = {"forward": [], "backward": [], "optimizer": []}

    def __call__(self) -> None:
        marks = [self.clock()]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            value = self.loss(self.network)
        marks.append(self.clock())
        value.backward()
        marks.append(self.clock())
        self.optimizers.step()
        self.optimizers.zero_grad()
        marks.append(self.clock())
        for name, a, b in zip(self.times, marks[:-1], marks[1:], strict=True):
            self.times[name].append(b - a)

    def medians(self) -> dict[str, float]:
        """Of all calls but the first, which warms up."""
        return {name: sorted(values[1:])[len(values[1:]) // 2] for name, values in self.times.items()}


def layer_products(network: Transformer, rows: int, kind: torch.dtype) -> tuple[Callable[[], None], int]:
    """A call that runs the products of every linear layer that works on tokens, forward and both gradients, and their operations."""
    named = [m for n, m in network.named_modules() if isinstance(m, nn.Linear) and ("blocks" in n or n == "head") and "modulation" not in n]
    shapes = [tuple(m.weight.shape) for m in named]
    held = {s: (torch.randn(rows, s[1]).to(kind), torch.randn(s).to(kind), torch.randn(rows, s[0]).to(kind)) for s in set(shapes)}

    def call() -> None:
        for shape in shapes:
            x, weight, g = held[shape]
            _ = x @ weight.t(), g @ weight, g.t() @ x

    return call, sum(6 * rows * a * b for a, b in shapes)


def costliest(step: Step, top: int) -> list[dict]:
    """What one step's time goes to, by operation, the largest first; time inside an operation's own kernels."""
    with profile(activities=[ProfilerActivity.CPU]) as watch:
        step()
    events = sorted(watch.key_averages(), key=lambda e: -e.self_cpu_time_total)
    whole = sum(e.self_cpu_time_total for e in events)
    return [
        {
            "name": e.key,
            "milliseconds": e.self_cpu_time_total / 1e3,
            "share": e.self_cpu_time_total / whole,
            "calls": e.count,
            "product": e.key.removeprefix("aten::").startswith(PRODUCTS),
        }
        for e in events[:top]
    ]
