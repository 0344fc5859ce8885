"""Encoding: images per second with the nearest code searched by vector-quantize-pytorch and by
``tokenizer/codebook.py``, with other numbers of distances at a time, and whether the codes are the same.

A tokenizer of random weights whose codebook is fitted to the images' features by k-means. Images come from a
folder (``--root``), or are smooth noise."""

from __future__ import annotations

import argparse
import math
import time

import torch
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from d3pm_image.config import DataConfig, TokenizerConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.pixel_range import from_levels
from d3pm_image.tokenizer import Autoencoder, codebook
from d3pm_image.tokenizer.quantizers import EMA

from .timing import table, take_turns


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--codes", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    parser.add_argument("--downsampling", type=int, choices=(4, 8, 16), default=8)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--images", type=int, default=32, help="images that are timed, in one batch")
    parser.add_argument("--compared", type=int, default=1000, help="images whose codes are compared")
    parser.add_argument("--root", default="", help="folder of images; without it smooth noise")
    parser.add_argument("--at-once", type=int, nargs="+", default=[2**16, 2**18, 2**20, 2**22, 2**24])
    args = parser.parse_args(arguments)
    images = make_images(args)
    rows = [row for codes in args.codes for row in searched(args, codes, images, repeats)]
    names = ["codes", "search", "images/s", "time, of the library's", "codes that differ"]
    keys = ["codes", "search", "images_per_s", "ratio", "differing"]
    table(names, [[row[key] for key in keys] for row in rows])
    return rows


def make_images(args: argparse.Namespace) -> Tensor:
    """Images (n, 3, h, w) in [0, 1]."""
    wanted = max(args.images, args.compared)
    if args.root:
        data = DataConfig("folder", root=args.root, image_size=args.size, channels=3)
        found = ImageSet(open_source(data), data)
        return from_levels(found.__getitems__(list(range(min(wanted, len(found)))))["images"])
    rough = torch.rand(wanted, 3, args.size // 8, args.size // 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(rough, args.size, mode="bicubic").clamp(0, 1)


@torch.no_grad()
def searched(args: argparse.Namespace, codes: int, images: Tensor, repeats: int) -> list[dict]:
    """A row per way to search among so many codes."""
    torch.manual_seed(0)
    levels = int(math.log2(args.downsampling))
    multipliers = (*(1,) * (levels - 1), 2) if levels > 1 else (1,)
    quantizer = EMA(num_codes=codes, code_dim=32)
    model = Autoencoder(
        TokenizerConfig(
            downsampling=args.downsampling, multipliers=multipliers, width=args.width, quantizer=quantizer
        ),
        3,
    ).eval()
    model.encode(images[: max(16, 2 * codes // (args.size // args.downsampling) ** 2)])  # starts the codebook
    own = model.quantizer.vq
    library = VectorQuantize(
        32, codes, commitment_weight=quantizer.commitment, kmeans_init=True, threshold_ema_dead_code=0
    ).eval()
    library.load_state_dict(own.state_dict())

    def encode(vq: torch.nn.Module, at_once: int, batch: Tensor) -> Tensor:
        model.quantizer.vq, before = vq, codebook.AT_ONCE["cpu"]
        codebook.AT_ONCE["cpu"] = at_once
        found = model.encode(batch)
        codebook.AT_ONCE["cpu"], model.quantizer.vq = before, own
        return found

    usual = codebook.AT_ONCE["cpu"]
    ways = {"library": (library, usual)}
    ways |= {
        f"{at_once} at once" + (" (ours)" if at_once == usual else ""): (own, at_once)
        for at_once in sorted({usual, *args.at_once})
    }
    part = images[: args.images]
    times = take_turns(
        {name: lambda way=way: encode(*way, part) for name, way in ways.items()}, repeats, time.process_time
    )
    kept = torch.cat([encode(library, usual, some) for some in images[: args.compared].split(64)])
    rows = []
    for name, way in ways.items():
        found = torch.cat([encode(*way, some) for some in images[: args.compared].split(64)])
        rows.append(
            {
                "codes": codes,
                "search": name,
                "images_per_s": len(part) / times[name],
                "ratio": times[name] / times["library"],
                "differing": int((found != kept).sum()),
                "compared": kept.numel(),
            }
        )
    return rows
