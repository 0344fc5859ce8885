"""Data: how fast images are decoded and encoded, how fast cached codes are read, and whether memory stays
flat over ten million images.

Five measurements. Images: random images written to a folder, decoded by the loader without and with worker
processes, and held in memory. Shards: the same images packed into tar shards, out of the loader and as bytes
alone, and how fast the index is made. Encoding: a tokenizer of random weights on random images. Codes:
batches in training order from a memory-mapped cache, the time that a step would wait. Large cache: sparse
files as long as the codes of ten million images (holes take no space on disk, so this is the speed of memory,
not of a disk), read in training order; resident memory before and after, the process's own and the pages of
the file, which the system may take back."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from d3pm_image.config import DataConfig, TokenizerConfig
from d3pm_image.data.code_files import SHARD_IMAGES, CodeWriter, Layout, prepare
from d3pm_image.data.codes import CodeSet
from d3pm_image.data.images import ImageSet
from d3pm_image.data.order import BatchOrder, batches
from d3pm_image.data.packing import pack
from d3pm_image.data.shards import open_shards
from d3pm_image.data.sources import folder, open_source
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.quantizers import EMA

from .timing import table

MEGABYTE = 2**20


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400, help="images in the folder")
    parser.add_argument("--size", type=int, default=128, help="side in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--downsampling", type=int, choices=(4, 8, 16), default=8)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--cached", type=int, default=50_000, help="images of the small cache")
    parser.add_argument("--large", type=int, default=10_000_000, help="images of the large cache")
    parser.add_argument("--side", type=int, default=16, help="code cells per side of the caches")
    parser.add_argument("--reads", type=int, default=2000, help="batches read from each cache")
    space = "where to write the temporary files; needs space for the small cache only"
    parser.add_argument("--folder", default="", help=space)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder or None) as name:
        os.environ["D3PM_IMAGE_CACHE"] = name  # for the index of the shards
        place = Path(name)
        read = [*images(args, place, repeats), *shards(args, place, repeats)]
        return [*read, *encoding(args, repeats), *caches(args, place)]


def best(values: list[float]) -> float:
    """The shortest: what disturbs a measurement makes it longer only."""
    return min(values)


def images(args: argparse.Namespace, place: Path, repeats: int) -> list[dict]:
    """Images per second out of the loader."""
    random = np.random.default_rng(0)
    for number in range(args.images):  # smooth noise, about as large as photographs
        rough = Image.fromarray(random.integers(0, 256, (args.size // 4, args.size // 4, 3), np.uint8))
        smooth = rough.resize((args.size * 5 // 4, args.size), Image.Resampling.BICUBIC)
        smooth.save(place / f"{number:05d}.jpg", quality=90)
    results = []
    ways = {"decoded, no workers": (0, 0), "decoded, 2 workers": (2, 0), "held in memory": (0, 4096)}
    for name, (workers, megabytes) in ways.items():
        data = settings("folder", place, args.size, megabytes)
        results.append(rate(f"images {args.size} px, {name}", loaded(data, args.batch, workers, repeats)))
    show("images out of the loader", results)
    return results


def settings(source: str, root: Path, size: int, megabytes: int = 0) -> DataConfig:
    return DataConfig(source, root=str(root), image_size=size, channels=3, flip=True, memory_mb=megabytes)


def rate(what: str, images_per_s: float) -> dict:
    """A row of the results."""
    return {"what": what, "images_per_s": images_per_s}


def show(title: str, results: list[dict]) -> None:
    """Print rates below an empty line."""
    print()
    table([title, "images/s"], [[row["what"], row["images_per_s"]] for row in results])


def loaded(data: DataConfig, batch: int, workers: int, repeats: int) -> float:
    """Images per second of an epoch in training order."""
    held = ImageSet(open_source(data), data, augment=True)
    steps, times = max(1, len(held) // batch), []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in batches(held, BatchOrder(len(held), batch, 0, 0, steps), workers):
            pass
        times.append(time.perf_counter() - began)
    return steps * batch / best(times)


def shards(args: argparse.Namespace, place: Path, repeats: int) -> list[dict]:
    """The same images out of tar shards, in training order: decoded, and their bytes alone beside those of
    files."""
    files = folder(place)
    pack(files, place / "shards", max(1, len(files) // 8), quiet=True)
    began = time.perf_counter()
    packed = open_shards(str(place / "shards"), place / "index")
    indexed = len(files) / (time.perf_counter() - began)
    data, results = settings("shards", place / "shards", args.size), []
    for workers in (0, 2):
        name = f"images {args.size} px, shards, decoded, {workers or 'no'} workers"
        results.append(rate(name, loaded(data, args.batch, workers, repeats)))
    order = np.random.default_rng(0).permutation(len(files)).tolist()
    readers = {"files": lambda i: files.load.paths[i].read_bytes(), "shards": packed.load.read}
    for name, read in readers.items():
        times = []
        for _ in range(max(3, repeats)):
            began = time.perf_counter()
            for index in order:
                read(index)
            times.append(time.perf_counter() - began)
        what = f"bytes of an image in any order, {name}, in the system's cache"
        results.append(rate(what, len(order) / best(times)))
    results.append(rate("index of shards made", indexed))
    show("shards", results)
    return results


def encoding(args: argparse.Namespace, repeats: int) -> list[dict]:
    """Images per second that a tokenizer encodes."""
    widths = (1, 2, 4, 4)[: args.downsampling.bit_length() - 1]
    sizes = {"downsampling": args.downsampling, "width": args.width, "multipliers": widths}
    model = Autoencoder(TokenizerConfig(quantizer=EMA(num_codes=1024), **sizes), 3).eval()
    batch, times = torch.rand(args.batch, 3, args.size, args.size), []
    for number in range(repeats + 1):
        began = time.perf_counter()
        model.encode(batch)
        if number:  # the first call starts the codebook
            times.append(time.perf_counter() - began)
    millions = sum(p.numel() for p in model.encoder.parameters()) / 1e6
    what = f"encode {args.size} px, f{args.downsampling}, encoder of {millions:.1f}M parameters"
    results = [rate(what, args.batch / best(times))]
    show("encoding", results)
    return results


def memory(when: str) -> dict[str, float]:
    """Resident memory in MB: of the process itself, and pages of mapped files."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        kilobytes = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith("Rss")}
    return {f"own_{when}_mb": kilobytes["RssAnon"] / 1024, f"file_{when}_mb": kilobytes["RssFile"] / 1024}


def write_cache(place: Path, count: int, side: int, filled: bool) -> int:
    """A cache folder as :func:`~d3pm_image.data.codes.build_cache` leaves it; not ``filled``, its codes are
    holes in the files. Returns the number of files of codes."""
    place.mkdir()
    layout = Layout(1, count, (side, side), SHARD_IMAGES if count > SHARD_IMAGES else 0)
    meta = {"count": count, "variants": 1, "grid": [side, side], "class_names": [], "shard": layout.shard}
    (place / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    prepare(place, place, layout, 4096)
    writer = CodeWriter(place, layout)
    for start in range(0, count if filled else 0, 4096):
        shape = (min(4096, count - start), side, side)
        codes = np.random.default_rng(start).integers(0, 1024, shape, np.uint16)
        writer.write(start, [codes], np.zeros(shape[0]))
    return layout.files


def caches(args: argparse.Namespace, place: Path) -> list[dict]:
    """Seconds per batch of codes, and memory before and after reading many."""
    results = [
        read_cache("small cache", place / "small", args.cached, True, args),
        read_cache("large cache (sparse)", place / "large", args.large, False, args),
    ]
    print()
    columns = ("what", "images_per_s", "batch_ms", "first_batch_s")
    sizes = [f"{r['codes_mb']:,.0f} ({r['on_disk_mb']:,.0f} on disk)" for r in results]
    rows = [[*(r[name] for name in columns), size] for r, size in zip(results, sizes, strict=True)]
    table([f"codes, batches of {args.batch}", "images/s", "ms per batch", "first s", "MB of codes"], rows)
    print()
    columns = ("own_before_mb", "own_after_mb", "file_before_mb", "file_after_mb")
    rows = [[r["what"], *(r[name] for name in columns), f"{r['read']:,}"] for r in results]
    table(["resident MB", "own before", "own after", "file pages before", "after", "images read"], rows)
    return results


def read_cache(name: str, place: Path, count: int, filled: bool, args: argparse.Namespace) -> dict:
    """Write a cache of ``count`` images and read ``args.reads`` batches of it."""
    files = write_cache(place, count, args.side, filled)
    order = BatchOrder(count, args.batch, 0, 0, args.reads + 1)
    loader = iter(batches(CodeSet(place), order, 0))
    began = time.perf_counter()
    next(loader)  # shuffles the first epoch
    first, before, began = time.perf_counter() - began, memory("before"), time.perf_counter()
    for _ in range(args.reads):
        next(loader)
    seconds, after = (time.perf_counter() - began) / args.reads, memory("after")
    sizes = [path.stat() for path in place.glob("codes*.npy")]
    return {
        "what": f"{name}, {count:,} images",
        "first_batch_s": first,
        "batch_ms": seconds * 1e3,
        "images_per_s": args.batch / seconds,
        "files": files,
        "codes_mb": sum(s.st_size for s in sizes) / MEGABYTE,
        "on_disk_mb": sum(s.st_blocks for s in sizes) * 512 / MEGABYTE,
        "read": args.reads * args.batch,
        **before,
        **after,
    }
