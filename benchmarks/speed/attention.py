"""Attention: forward and backward pass, and the forward pass alone, by torch's fused kernel and by plain
products, over numbers of tokens. The largest number up to which plain products train faster is the rule in
``denoiser/layers.py`` (``PLAIN_UP_TO``)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from d3pm_image.denoiser.layers import PLAIN_UP_TO, plain_attention

from .timing import table, take_turns

WAYS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "fused": F.scaled_dot_product_attention,
    "plain": plain_attention,
}
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16}


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[49, 64, 100, 144, 196, 256, 576, 1024])
    parser.add_argument("--total", type=int, default=4096, help="tokens of all images of a batch together")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-width", type=int, default=64)
    parser.add_argument("--precisions", nargs="+", choices=tuple(PRECISIONS), default=list(PRECISIONS))
    args = parser.parse_args(arguments)
    rows = []
    for precision in args.precisions:
        for tokens in args.tokens:
            batch = max(1, args.total // tokens)
            given = [
                torch.randn(batch, args.heads, tokens, args.head_width, dtype=PRECISIONS[precision])
                for _ in range(3)
            ]
            for task, call in (("training", trained), ("drawing", drawn)):
                entries = {name: partial(call, way, given) for name, way in WAYS.items()}
                seconds = take_turns(entries, repeats, time.process_time)
                ratio = seconds["plain"] / seconds["fused"]
                rows.append(
                    {
                        "precision": precision,
                        "tokens": tokens,
                        "batch": batch,
                        "task": task,
                        "fused_ms": seconds["fused"] * 1e3,
                        "plain_ms": seconds["plain"] * 1e3,
                        "ratio": ratio,
                    }
                )
    names = ["precision", "tokens", "batch", "task", "fused, ms", "plain, ms", "plain / fused"]
    table(names, [list(row.values()) for row in rows])
    for precision in args.precisions:
        rule = PLAIN_UP_TO[PRECISIONS[precision]]
        print(f"{precision}: plain products train faster up to {advice(rows, precision)}; the rule is {rule}")
    return rows


def trained(way: Callable[[Tensor, Tensor, Tensor], Tensor], given: list[Tensor]) -> None:
    """Forward and backward pass."""
    inputs = [x.detach().requires_grad_() for x in given]
    way(*inputs).sum().backward()


@torch.no_grad()
def drawn(way: Callable[[Tensor, Tensor, Tensor], Tensor], given: list[Tensor]) -> None:
    """Forward pass."""
    way(*given)


def advice(rows: list[dict], precision: str) -> int:
    """Up to how many tokens plain products train faster, without a gap below."""
    best = 0
    for row in rows:
        if row["precision"] == precision and row["task"] == "training":
            if row["ratio"] >= 1:
                break
            best = row["tokens"]
    return best
