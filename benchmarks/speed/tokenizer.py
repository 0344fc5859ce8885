"""Training steps of the tokenizer: images per second in float32 and bf16, of the 32-px preset and of a plain
VQ-VAE of the same size.

A step is forward, loss, backward, clipping and AdamW. The plain one is written here in torch alone: strided
convolutions, residual blocks, a codebook trained by its own loss (van den Oord et al. 2017, equation 3),
transposed convolutions. Options after the benchmark's own go to the preset, such as ``--tokenizer.width 32``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from d3pm_image.config import TokenizerConfig, TokenizerRun
from d3pm_image.parser import parse
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.loss import reconstruction_loss

from .timing import table, take_turns

PRESET = Path(__file__).resolve().parents[2] / "configs" / "tokenizer" / "tokenizer_32_f4.yaml"


class Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Plain(nn.Module):
    """The textbook's VQ-VAE: the same widths and numbers of blocks as the preset's network."""

    def __init__(self, config: TokenizerConfig, channels: int):
        super().__init__()
        widths, blocks = [config.width * m for m in config.multipliers], config.blocks
        down, up, before = [], [], channels
        for width in widths:
            down += [nn.Conv2d(before, width, 4, stride=2, padding=1), *(Block(width) for _ in range(blocks))]
            enlarge = nn.ConvTranspose2d(width, before, 4, stride=2, padding=1)
            up = [*(Block(width) for _ in range(blocks + 1)), enlarge, *up]
            before = width
        self.encoder = nn.Sequential(*down, nn.Conv2d(before, config.quantizer.vector_dim, 1))
        self.codebook = nn.Embedding(config.num_codes, config.quantizer.vector_dim)
        self.decoder = nn.Sequential(nn.Conv2d(config.quantizer.vector_dim, before, 3, padding=1), *up)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction (B, C, h, w) and the codebook's loss."""
        features = self.encoder(images * 2 - 1).permute(0, 2, 3, 1).float()
        with torch.autocast(images.device.type, enabled=False):
            codes = torch.cdist(features.detach().flatten(0, 2), self.codebook.weight.detach()).argmin(1)
            chosen = self.codebook(codes).view_as(features)
        loss = F.mse_loss(chosen, features.detach()) + 0.25 * F.mse_loss(features, chosen.detach())
        quantized = features + (chosen - features).detach()
        return self.decoder(quantized.permute(0, 3, 1, 2)) * 0.5 + 0.5, loss


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=str(PRESET))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args, rest = parser.parse_known_args(arguments)
    config = parse("train-tokenizer", TokenizerRun, ["--config", args.config, *rest])
    channels, size = config.data.channels, config.data.image_size
    networks = {"ours": Autoencoder(config.tokenizer, channels), "plain": Plain(config.tokenizer, channels)}
    ours, plain = (sum(p.numel() for p in network.parameters()) / 1e6 for network in networks.values())
    num_codes = config.tokenizer.num_codes
    print(f"{size} px, B {args.batch}, K {num_codes}, {ours:.2f}M parameters, plain {plain:.2f}M")
    entries = {
        f"{name}, {precision}": step(network.to(args.device), config, args, precision == "bf16")
        for name, network in networks.items()
        for precision in ("float32", "bf16")
    }
    seconds = take_turns(entries, repeats)
    rates = {name: args.batch / s for name, s in seconds.items()}
    base = rates["plain, float32"]
    results = [{"entry": name, "images_per_s": rate, "ratio": rate / base} for name, rate in rates.items()]
    table(["", "images/s", "x plain float32"], [list(row.values()) for row in results])
    return results


def step(network: nn.Module, config: TokenizerRun, args: argparse.Namespace, half: bool) -> Callable:
    """A call that trains on one batch of noise."""
    images = torch.rand(args.batch, config.data.channels, *([config.data.image_size] * 2), device=args.device)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)

    def call() -> None:
        network.train()
        with torch.autocast(args.device, torch.bfloat16, enabled=half):
            output, *_, own = network(images)
        loss = reconstruction_loss(output, images, config.loss)[0] + own
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if args.device == "cuda":
            torch.cuda.synchronize()

    return call
