"""Share of this machine's own matrix-product rate that denoiser training reaches, and where the rest of the
time goes.

A network of about 20M parameters on N = 256 tokens, batch 16, in float32 and in bf16 (autocast): forward
pass, loss, backward pass and optimizer, timed apart, in turn with torch's matrix products of the same type: a
large square one, and those of the network's own linear layers (forward and both gradients). Operations are
counted by torch's counter; the rate is that of forward, loss and backward over the matrix rate, target 60 %.
A profile lists what the time goes to: matrix products, and everything else."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from d3pm_image.config import DenoiserConfig, DiffusionLossConfig, DiffusionRun, TrainConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.estimate.flops import Costs, count, diffusion_loss, imagined
from d3pm_image.training.optim import make_optimizers

from .timing import table, take_turns

TARGET = 0.6
CLOCKS = {"wall": time.perf_counter, "processor": lambda: time.process_time() / torch.get_num_threads()}
PRODUCTS = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "linear",
    "matmul",
    "mkldnn_linear",
    "_scaled_dot_product",
    "convolution",
)


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
    shared = "processor: this process's own time per thread, where others share the machine"
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help=shared)
    parser.add_argument("--top", type=int, default=14, help="rows of the profile")
    args = parser.parse_args(arguments)
    return [measure(precision, args, repeats) for precision in args.precisions]


def settings(precision: str, args: argparse.Namespace) -> DiffusionRun:
    half = "bf16" if precision == "bf16" else "no"
    return DiffusionRun(
        denoiser=DenoiserConfig(args.width, args.depth, max(1, args.width // 64)),
        loss=DiffusionLossConfig(fused=args.fused),
        train=TrainConfig(optimizer=args.optimizer, mixed_precision=half, batch_size=args.batch),
    )


def measure(precision: str, args: argparse.Namespace, repeats: int) -> dict:
    """Rates of one precision, printed with the profile of one step."""
    config, grid = settings(precision, args), (args.side, args.side)
    loss = diffusion_loss(config, args.codes, grid, 10, args.batch)
    with imagined():
        costs = count(Transformer(config.denoiser, args.codes, 10), loss, config.train)
    clock, kind = CLOCKS[args.clock], torch.bfloat16 if precision == "bf16" else torch.float32
    step = Step(Transformer(config.denoiser, args.codes, 10), loss, config.train, clock)
    square = torch.randn(args.square, args.square).to(kind)
    products, flops_layers = layer_products(step.network, args.batch * args.side**2, kind)
    calls = {"square": lambda: square @ square, "layers": products, "step": step}
    seconds = take_turns(calls, repeats, clock)
    parts = step.medians()
    rates = {
        "square": 2 * args.square**3 / seconds["square"],
        "layers": flops_layers / seconds["layers"],
        "passes": (costs.forward_flops + costs.backward_flops) / (parts["forward"] + parts["backward"]),
        "step": costs.flops / seconds["step"],
    }
    report(precision, args, costs, seconds | parts, rates)
    top = costliest(step, args.top)
    rows = [[r["name"], r["milliseconds"], f"{r['share']:.1%}", r["calls"]] for r in top]
    table(["profile of a step", "ms", "share", "calls"], rows)
    products_share = sum(r["share"] for r in top if r["product"])
    print(f"matrix products {products_share:.0%} of the step's time, in the rows above")
    return {
        "precision": precision,
        "parameters": costs.parameters,
        "flops_a_step": costs.flops,
        "seconds": seconds | parts,
        "flops_a_second": rates,
        "ratio": rates["passes"] / rates["square"],
        "ratio_to_layers": rates["passes"] / rates["layers"],
        "profile": top,
        "clock": args.clock,
    }


def report(
    precision: str,
    args: argparse.Namespace,
    costs: Costs,
    seconds: dict[str, float],
    rates: dict[str, float],
) -> None:
    """Print operations, seconds and rates of one precision."""
    seconds = seconds | {"passes": seconds["forward"] + seconds["backward"]}
    forward, backward, optimizer = (
        costs.forward_flops / 1e9,
        costs.backward_flops / 1e9,
        costs.optimizer_flops / 1e9,
    )
    print(
        f"\n{precision}: {costs.parameters / 1e6:.1f}M parameters, N {args.side**2}, B {args.batch}, "
        f"K {args.codes}; {costs.flops / 1e9:.1f} GFLOPs per step "
        f"(forward {forward:.1f}, backward {backward:.1f}, {args.optimizer} {optimizer:.1f})"
    )

    def row(title: str, name: str) -> list:
        return [title, seconds[name], rates[name] / 1e9, f"{rates[name] / rates['square']:.0%}"]

    rows = [
        [*row(f"matrix product {args.square}²", "square")[:3], ""],
        row("the layers' matrix products", "layers"),
        row("forward, loss and backward", "passes"),
        ["  forward and loss", seconds["forward"], forward / seconds["forward"], ""],
        ["  backward", seconds["backward"], backward / seconds["backward"], ""],
        [f"optimizer ({args.optimizer})", seconds["optimizer"], "", ""],
        row("whole step", "step"),
    ]
    table(["", "s", "GFLOP/s", "of the square"], rows)
    square, layers = (f"{rates['passes'] / rates[name]:.0%}" for name in ("square", "layers"))
    print(f"ratio {square} of the square product, {layers} of the layers' own; target {TARGET:.0%}")


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
    """A call that runs the products of every linear layer that works on tokens, forward and both gradients,
    and their operations."""
    linear = {n: m for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    on_tokens = [m for n, m in linear.items() if ("blocks" in n or n == "head") and "modulation" not in n]
    shapes = [tuple(m.weight.shape) for m in on_tokens]
    held = {}
    for out, into in set(shapes):
        held[out, into] = [torch.randn(size).to(kind) for size in ((rows, into), (out, into), (rows, out))]

    def call() -> None:
        for shape in shapes:
            x, weight, g = held[shape]
            _ = x @ weight.t(), g @ weight, g.t() @ x

    return call, sum(6 * rows * a * b for a, b in shapes)


def costliest(step: Step, top: int) -> list[dict]:
    """What one step's time goes to, by operation, the largest first; time inside an operation's own
    kernels."""
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
