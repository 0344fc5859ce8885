"""This denoiser beside its neighbours, at equal width, depth, tokens, codes, batch and steps, in turn in one
run: training step, network call on few and on many sequences, sampling; each eager and, with --compile,
compiled.

Neighbours: a plain loop over torch's nn.TransformerEncoder (always there), the network and samplers of
Halton-MaskGIT (--halton, a clone of github.com/valeoai/Halton-MaskGIT), and diffusers' UVit2DModel with its
AmusedScheduler (--amused; ``pip install diffusers``). Those train by cross-entropy at masked tokens under
torch's fused AdamW; this one by its bound and auxiliary loss, under the same optimizer's rule. Nobody's
guidance is on. Feed-forward layers keep the width that their authors gave them; parameters are listed."""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3pm_image.compiler import compile_network
from d3pm_image.config import DenoiserConfig, DiffusionRun, ProcessConfig, SamplingConfig, TrainConfig
from d3pm_image.denoiser import Transformer
from d3pm_image.denoiser.precision import logits_of
from d3pm_image.devices import pick_device
from d3pm_image.diffusion import Process
from d3pm_image.recipes.diffusion import make_loss
from d3pm_image.sampling.choice import make_sampler
from d3pm_image.sampling.loop import sample
from d3pm_image.sampling.request import Request
from d3pm_image.sampling.state import ImageStreams
from d3pm_image.training.optim import make_optimizers
from d3pm_image.training.random import StepRandom

from .timing import table, take_turns

CLASSES = 10
RATE = 1e-4


@dataclass
class Contestant:
    """One network with its own way to train and to draw.

    Args:
        network: What is compiled.
        step: One training step, optimizer included.
        call: Logits (B, N, K or more) of codes (B, N) and labels (B,), in the run's precision, without
            gradients.
        draws: Samplers by name: labels (B,) → codes (B, N).
    """

    network: nn.Module
    step: Callable[[], None]
    call: Callable[[Tensor, Tensor], Tensor]
    draws: dict[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class Sizes:
    """What all contestants share. codes: K. side: cells per side of the grid. bf16: autocast."""

    width: int
    depth: int
    codes: int
    side: int
    batch: int
    steps: int
    bf16: bool
    device: str

    @property
    def tokens(self) -> int:
        """N."""
        return self.side**2

    @property
    def heads(self) -> int:
        """As many as are 64 wide."""
        return max(1, self.width // 64)

    def cast(self) -> torch.autocast:
        """The precision, as a context."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bf16)

    def random_codes(self, count: int) -> Tensor:
        """Codes (count, N), half of them masked."""
        x = torch.randint(self.codes, (count, self.tokens), device=self.device)
        return x.masked_fill(torch.rand(x.shape, device=self.device) < 0.5, self.codes)


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32, help="images of a training step and of a drawing")
    parser.add_argument("--calls", type=int, nargs="+", default=[2, 32], help="sequences of a network call")
    parser.add_argument("--steps", type=int, default=8, help="steps of a sampler")
    parser.add_argument("--precisions", nargs="+", choices=("float32", "bf16"), default=["float32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="also measure everything compiled")
    modes = ("default", "reduce-overhead", "max-autotune")
    parser.add_argument("--mode", choices=modes, default="default", help="of torch.compile")
    parser.add_argument("--halton", default="", help="clone of github.com/valeoai/Halton-MaskGIT")
    parser.add_argument("--amused", action="store_true", help="also diffusers' UVit2DModel")
    parser.add_argument("--device", default="auto")
    shared = "processor: this process's own time per thread, where others share the machine"
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall", help=shared)
    args = parser.parse_args(arguments)
    rows = []
    for precision in args.precisions:
        sizes = Sizes(args.width, args.depth, args.codes, args.side, args.batch, args.steps,
                      precision == "bf16", pick_device(args.device))  # fmt: skip
        rows += measure(sizes, args, repeats)
    return rows


def measure(sizes: Sizes, args: argparse.Namespace, repeats: int) -> list[dict]:
    """All contestants in one precision, printed."""
    torch.manual_seed(0)
    field = contestants(sizes, args)
    if args.compile:
        for name, contestant in contestants(sizes, args).items():
            compile_network(contestant.network, mode=args.mode)
            field[f"{name}, compiled"] = contestant
    labels = torch.arange(max(*args.calls, sizes.batch), device=sizes.device) % CLASSES
    tasks: dict[str, dict[str, Callable[[], object]]] = {
        "training step": {name: one.step for name, one in field.items()}
    }
    for count in args.calls:
        codes = sizes.random_codes(count)
        tasks[f"call of {count}"] = {
            name: lambda one=one, codes=codes: one.call(codes, labels[: len(codes)])
            for name, one in field.items()
        }
    tasks[f"{sizes.batch} images in {sizes.steps} steps"] = {
        f"{name}: {sampler}": lambda draw=draw: draw(labels[: sizes.batch])
        for name, one in field.items()
        for sampler, draw in one.draws.items()
    }
    millions = {name: sum(p.numel() for p in one.network.parameters()) / 1e6 for name, one in field.items()}
    precision, rows = "bf16" if sizes.bf16 else "float32", []
    for task, entries in tasks.items():
        train = task == "training step"
        for one in field.values():
            one.network.train(train)
        seconds = take_turns({name: settled(call, sizes) for name, call in entries.items()}, repeats,
                             clock_of(args.clock))  # fmt: skip
        own = [value for name, value in seconds.items() if name.startswith("ours")]
        print(f"\n{task}, {precision}, N {sizes.tokens}, K {sizes.codes}, {sizes.width} wide, "
              f"{sizes.depth} deep, {args.clock} time")  # fmt: skip
        table(
            ["", "parameters (M)", "ms", "of our best"],
            [[n, millions[n.split(":")[0]], s * 1e3, s / min(own)] for n, s in seconds.items()],
        )
        rows += [
            {
                "precision": precision,
                "task": task,
                "contestant": name,
                "seconds": value,
                "clock": args.clock,
                "parameters": round(millions[name.split(":")[0]] * 1e6),
                **{key: getattr(sizes, key) for key in ("width", "depth", "codes", "tokens", "batch")},
            }
            for name, value in seconds.items()
        ]
    return rows


def clock_of(name: str) -> Callable[[], float]:
    """Seconds of the wall, or of this process per thread."""
    return time.perf_counter if name == "wall" else lambda: time.process_time() / torch.get_num_threads()


def settled(call: Callable[[], object], sizes: Sizes) -> Callable[[], None]:
    """The same call, ended when the device is."""

    def timed() -> None:
        call()
        if sizes.device != "cpu":
            torch.cuda.synchronize()

    return timed


def contestants(sizes: Sizes, args: argparse.Namespace) -> dict[str, Contestant]:
    """All that were asked for, new."""
    field = {"ours": ours(sizes), "plain": plain(sizes)}
    if args.halton:
        field["Halton-MaskGIT"] = halton(sizes, Path(args.halton))
    if args.amused:
        field["diffusers UVit2D"] = amused(sizes)
    return field


def ours(sizes: Sizes) -> Contestant:
    """The denoiser of this package, trained and drawn from as its commands do."""
    half = "bf16" if sizes.bf16 else "no"
    config = DiffusionRun(
        denoiser=DenoiserConfig(sizes.width, sizes.depth, sizes.heads),
        train=TrainConfig(optimizer="adamw", mixed_precision=half, batch_size=sizes.batch),
    )
    network = Transformer(config.denoiser, sizes.codes, CLASSES).to(sizes.device)
    grid, process = (sizes.side, sizes.side), Process.from_config(ProcessConfig(), sizes.codes)
    loss, optimizers = make_loss(process, config.loss, grid), make_optimizers(network, config.train)
    random = StepRandom(0, 0, sizes.batch, slice(0, sizes.batch), torch.device(sizes.device))
    batch = {
        "codes": torch.randint(sizes.codes, (sizes.batch, sizes.tokens), device=sizes.device),
        "labels": torch.randint(CLASSES, (sizes.batch,), device=sizes.device),
    }

    def step() -> None:
        with sizes.cast():
            value = loss(network, batch, random)[0]
        value.backward()
        optimizers.step()
        optimizers.zero_grad()

    def predict(x_t: Tensor, kappa: Tensor, labels: Tensor, grid: tuple[int, int],
                where: Tensor | None = None) -> Tensor:  # fmt: skip
        return logits_of(network, sizes.bf16, x_t, kappa, labels, grid, where)

    def call(codes: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            return predict(codes, torch.full((len(codes),), 0.9, device=codes.device), labels, grid)

    def drawn(sampler: str) -> Callable[[Tensor], Tensor]:
        request = Request(make_sampler(sampler), SamplingConfig(steps=sizes.steps))
        return lambda labels: sample(
            predict, process, request, labels, CLASSES, grid, ImageStreams(0, range(len(labels)))
        )

    return Contestant(network, step, call, {name: drawn(name) for name in ("confidence", "halton")})


def masked_step(sizes: Sizes, network: nn.Module, call: Callable[[Tensor, Tensor], Tensor],
                ) -> Callable[[], None]:  # fmt: skip
    """A MaskGIT's training step (Chang et al. 2022): cosine masking, cross-entropy at masked tokens."""
    optimizer = torch.optim.AdamW(network.parameters(), RATE, fused=True)
    x_0 = torch.randint(sizes.codes, (sizes.batch, sizes.tokens), device=sizes.device)
    labels = torch.randint(CLASSES, (sizes.batch,), device=sizes.device)

    def step() -> None:
        share = torch.cos(torch.rand(sizes.batch, 1, device=sizes.device) * math.pi / 2)
        masked = torch.rand(x_0.shape, device=sizes.device) < share
        with sizes.cast():
            logits = call(x_0.masked_fill(masked, sizes.codes), labels)
            value = F.cross_entropy(logits[masked][:, : sizes.codes].float(), x_0[masked])
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def called(sizes: Sizes, call: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A network call for sampling."""

    def without_gradients(codes: Tensor, labels: Tensor) -> Tensor:
        with torch.inference_mode(), sizes.cast():
            return call(codes, labels)

    return without_gradients


class Plain(nn.Module):
    """nn.TransformerEncoder over embedded codes, learnt places and a class."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        width = sizes.width
        self.codes, self.classes = nn.Embedding(sizes.codes + 1, width), nn.Embedding(CLASSES + 1, width)
        self.places = nn.Parameter(torch.randn(sizes.tokens, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, sizes.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, sizes.depth, nn.LayerNorm(width), False)
        self.head = nn.Linear(width, sizes.codes)

    def forward(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.head(self.layers(self.codes(codes) + self.places + self.classes(labels)[:, None]))


def plain(sizes: Sizes) -> Contestant:
    """The shortest MaskGIT that one would write: torch's own layers, a loop of a dozen lines."""
    network = Plain(sizes).to(sizes.device)
    call = called(sizes, network)

    def confidence(labels: Tensor) -> Tensor:
        x = torch.full((len(labels), sizes.tokens), sizes.codes, device=labels.device)
        for step in range(sizes.steps):
            p = call(x, labels).float().softmax(-1)
            drawn = torch.distributions.Categorical(p).sample()
            masked = x == sizes.codes
            known = torch.where(masked, drawn, x)
            left = int(sizes.tokens * math.cos(math.pi / 2 * (step + 1) / sizes.steps))
            noise = -torch.empty_like(p[..., 0]).exponential_().log() * (1 - (step + 1) / sizes.steps)
            sure = p.gather(-1, known[..., None])[..., 0].clamp_min(1e-9).log() + noise
            sure = sure.masked_fill(~masked, torch.inf)
            again = sure.argsort(-1)[:, :left]
            x = known.scatter(1, again, sizes.codes)
        return x

    return Contestant(network, masked_step(sizes, network, network), call, {"confidence": confidence})


def module_of(root: Path, path: str) -> ModuleType:
    """A Python file of somebody else's clone, imported by its place."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_").removesuffix(".py"), root / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def halton(sizes: Sizes, root: Path) -> Contestant:
    """Network and both samplers of Halton-MaskGIT (Besnier et al. 2025)."""
    network = module_of(root, "Network/transformer.py").Transformer(
        sizes.side, sizes.width, sizes.codes, sizes.depth, sizes.heads, 4 * sizes.width, 0.0, CLASSES
    )
    network = network.to(sizes.device)

    def logits(codes: Tensor, labels: Tensor) -> Tensor:
        keep = torch.zeros(len(codes), dtype=torch.bool, device=codes.device)
        return network(codes.view(-1, sizes.side, sizes.side), labels, keep)

    asked = SimpleNamespace(
        device=sizes.device, mask_value=sizes.codes, codebook_size=sizes.codes, use_ema=False
    )
    decoder = SimpleNamespace(decode_code=lambda codes: codes)
    trainer = SimpleNamespace(
        vit=network, ae=decoder, args=asked, input_size=sizes.side, autocast=sizes.cast()
    )
    samplers = {
        "halton": module_of(root, "Sampler/halton_sampler.py").HaltonSampler(w=0, step=sizes.steps),
        "confidence": module_of(root, "Sampler/confidence_sampler.py").ConfidenceSampler(
            w=0, step=sizes.steps
        ),
    }

    def drawn(sampler: Callable) -> Callable[[Tensor], Tensor]:
        def draw(labels: Tensor) -> Tensor:
            with sizes.cast():
                return sampler(trainer, nb_sample=len(labels), labels=labels, verbose=False)[0]

        return draw

    draws = {name: drawn(sampler) for name, sampler in samplers.items()}
    return Contestant(network, masked_step(sizes, network, logits), called(sizes, logits), draws)


def amused(sizes: Sizes) -> Contestant:
    """diffusers' network and scheduler of aMUSEd (Patil et al. 2024); a class stands in for its text."""
    from diffusers import AmusedScheduler, UVit2DModel

    width = sizes.width
    network = UVit2DModel(
        hidden_size=width, cond_embed_dim=width, micro_cond_encode_dim=32, micro_cond_embed_dim=5 * 32,
        encoder_hidden_size=width, vocab_size=sizes.codes + 1, codebook_size=sizes.codes, in_channels=width,
        block_out_channels=width, num_res_blocks=1, block_num_heads=sizes.heads,
        num_hidden_layers=sizes.depth, num_attention_heads=sizes.heads, intermediate_size=4 * width,
        sample_size=sizes.side,
    )  # fmt: skip
    network = network.to(sizes.device)
    texts = torch.randn(CLASSES, width, device=sizes.device)

    def logits(codes: Tensor, labels: Tensor) -> Tensor:
        text, conditions = texts[labels], torch.zeros(len(codes), 5, device=codes.device)
        square = codes.view(-1, sizes.side, sizes.side)
        return network(square, text[:, None], text, conditions).flatten(2).transpose(1, 2)

    call, scheduler = called(sizes, logits), AmusedScheduler(sizes.codes)

    def drawn(labels: Tensor) -> Tensor:
        scheduler.set_timesteps(sizes.steps, device=labels.device)
        x = torch.full((len(labels), sizes.side, sizes.side), sizes.codes, device=labels.device)
        for t in scheduler.timesteps:
            out = call(x.flatten(1), labels).float().transpose(1, 2).unflatten(2, (sizes.side, sizes.side))
            x = scheduler.step(out, t, x).prev_sample
        return x

    return Contestant(network, masked_step(sizes, network, logits), call, {"AmusedScheduler": drawn})
