"""Data: how fast images are decoded and encoded, how fast cached codes are read, and whether memory stays flat over ten million images.

Five measurements. Images: random pictures written to a folder, decoded by the loader without and with worker processes, and held in memory. Shards: the
same pictures packed into tar shards, out of the loader and as bytes alone, and how fast the index is made. Encoding: a
tokenizer of random weights on random images. Codes: batches in training order from a memory-mapped cache, the time that a step would wait. Large
cache: sparse files as long as the codes of ten million images (holes take no space on disk, so this is the speed of memory, not of a
disk), read in training order; resident memory before and after, the process's own and the pages of the file, which the system may take back.
"""

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

from .measure import table

MEGABYTE = 2**20


def run(repeats: int, arguments: list[str]) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=400, help="pictures in the folder")
    parser.add_argument("--size", type=int, default=128, help="side in pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--downsampling", type=int, choices=(4, 8, 16), default=8)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--cached", type=int, default=50_000, help="images of the small cache")
    parser.add_argument("--large", type=int, default=10_000_000, help="images of the large cache")
    parser.add_argument("--side", type=int, default=16, help="code cells per side of the caches")
    parser.add_argument("--reads", type=int, default=2000, help="batches read from each cache")
    parser.add_argument("--folder", default="", help="where to write the temporary files; needs space for the small cache only")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=args.folder or None) as name:
        os.environ["D3PM_IMAGE_CACHE"] = name  # for the index of the shards
        place = Path(name)
        rows = [*images(args, place, repeats), *shards(args, place, repeats), *encoding(args, repeats), *caches(args, place)]
    return rows


def best(values: list[float]) -> float:
    """The shortest: what disturbs a measurement makes it longer only."""
    return min(values)


def images(args: argparse.Namespace, place: Path, repeats: int) -> list[dict]:
    """Images per second out of the loader."""
    random = np.random.default_rng(0)
    for number in range(args.images):  # smooth noise, about as large as photographs
        rough = Image.fromarray(random.integers(0, 256, (args.size // 4, args.size // 4, 3), np.uint8))
        rough.resize((args.size * 5 // 4, args.size), Image.Resampling.BICUBIC).save(place / f"{number:05d}.jpg", quality=90)
    results = []
    for name, workers, megabytes in (("decoded, no workers", 0, 0), ("decoded, 2 workers", 2, 0), ("held in memory", 0, 4096)):
        data = DataConfig(source="folder", root=str(place), image_size=args.size, channels=3, flip=True, memory_mb=megabytes)
        results.append({"what": f"images {args.size} px, {name}", "images_per_s": loaded(data, args.batch, workers, repeats)})
    table(["images out of the loader", "images/s"], [[r["what"], r["images_per_s"]] for r in results])
    return results


def loaded(data: DataConfig, batch: int, workers: int, repeats: int) -> float:
    """Images per second of an epoch in training order."""
    held = ImageSet(open_source(data), data, augment=True)
    steps, times = max(1, len(held) // batch), []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in batches(held, BatchOrder(len(held), batch, 0, 0, steps), workers, pin=False):
            pass
        times.append(time.perf_counter() - began)
    return steps * batch / best(times)


def shards(args: argparse.Namespace, place: Path, repeats: int) -> list[dict]:
    """The same pictures out of tar shards, in training order: decoded, and their bytes alone beside those of files."""
    files = folder(place)
    pack(files, place / "shards", max(1, len(files) // 8), quiet=True)
    began = time.perf_counter()
    packed = open_shards(str(place / "shards"), place / "index")
    indexed = len(files) / (time.perf_counter() - began)
    data = DataConfig(source="shards", root=str(place / "shards"), image_size=args.size, channels=3, flip=True, memory_mb=0)
    results = [
        {
            "what": f"images {args.size} px, shards, decoded, {workers or 'no'} workers",
            "images_per_s": loaded(data, args.batch, workers, repeats),
        }
        for workers in (0, 2)
    ]
    order, rates = np.random.default_rng(0).permutation(len(files)).tolist(), {}
    readers = {"files": lambda i: files.load.paths[i].read_bytes(), "shards": packed.load.read}
    for name, read in readers.items():
        times = []
        for _ in range(max(3, repeats)):
            began = time.perf_counter()
            for index in order:
                read(index)
            times.append(time.perf_counter() - began)
        rates[name] = len(order) / best(times)
    results += [
        {"what": f"bytes of a picture in any order, {name}, in the system's cache", "images_per_s": rate} for name, rate in rates.items()
    ]
    results.append({"what": "index of shards made", "images_per_s": indexed})
    print()
    table(["shards", "images/s"], [[r["what"], r["images_per_s"]] for r in results])
    return results


def encoding(args: argparse.Namespace, repeats: int) -> list[dict]:
    """Images per second that a tokenizer encodes."""
    levels = args.downsampling.bit_length() - 1
    config = TokenizerConfig(downsampling=args.downsampling, width=args.width, multipliers=(1, 2, 4, 4)[:levels], quantizer=EMA(num_codes=1024))
    model = Autoencoder(config, 3).eval()
    pictures = torch.rand(args.batch, 3, args.size, args.size)
    times = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        model.encode(pictures)
        if number:  # the first call starts the codebook
            times.append(time.perf_counter() - began)
    count = sum(p.numel() for p in model.encoder.parameters())
    row = {
        "what": f"encode {args.size} px, f{args.downsampling}, encoder of {count / 1e6:.1f}M parameters",
        "images_per_s": args.batch / best(times),
    }
    print()
    table(["encoding", "images/s"], [[row["what"], row["images_per_s"]]])
    return [row]


def memory() -> dict[str, float]:
    """Resident memory in MB: of the process itself, and pages of mapped files."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if line.startswith(("RssAnon", "RssFile"))}
    return {"own_mb": values["RssAnon"], "file_mb": values["RssFile"]}


def write_cache(place: Path, count: int, side: int, filled: bool) -> int:
    """A cache folder as :func:`~d3pm_image.data.codes.build_cache` leaves it; not ``filled``, its codes are holes in the files. Returns the
    number of files of codes."""
    place.mkdir()
    layout = Layout(1, count, (side, side), SHARD_IMAGES if count > SHARD_IMAGES else 0)
    meta = {"count": count, "variants": 1, "grid": [side, side], "class_names": [], "shard": layout.shard}
    (place / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    prepare(place, place, layout, 4096)
    writer = CodeWriter(place, layout)
    for start in range(0, count if filled else 0, 4096):
        shape = (min(4096, count - start), side, side)
        writer.write(start, [np.random.default_rng(start).integers(0, 1024, shape, np.uint16)], np.zeros(shape[0]))
    return layout.files


def caches(args: argparse.Namespace, place: Path) -> list[dict]:
    """Seconds a batch of codes takes, and memory before and after reading many."""
    results = []
    for name, count, filled in (("small cache", args.cached, True), ("large cache (sparse)", args.large, False)):
        where = place / name.split()[0]
        files = write_cache(where, count, args.side, filled)
        codes = CodeSet(where)
        loader = iter(batches(codes, BatchOrder(count, args.batch, 0, 0, args.reads + 1), 0, pin=False))
        began = time.perf_counter()
        next(loader)  # shuffles the first epoch
        first, before, began = time.perf_counter() - began, memory(), time.perf_counter()
        for _ in range(args.reads):
            next(loader)
        seconds, after = (time.perf_counter() - began) / args.reads, memory()
        sizes = [path.stat() for path in where.glob("codes*.npy")]
        results.append(
            {"what": f"{name}, {count:,} images", "first_batch_s": first, "batch_ms": seconds * 1e3, "images_per_s": args.batch / seconds,
             "files": files, "codes_mb": sum(s.st_size for s in sizes) / MEGABYTE, "on_disk_mb": sum(s.st_blocks for s in sizes) * 512 / MEGABYTE, "read": args.reads * args.batch,
             "own_before_mb": before["own_mb"], "own_after_mb": after["own_mb"], "file_before_mb": before["file_mb"], "file_after_mb": after["file_mb"]}
        )  # fmt: skip
        del loader, codes
    print()
    rows = [
        [r["what"], r["images_per_s"], r["batch_ms"], r["first_batch_s"], f"{r['codes_mb']:,.0f} ({r['on_disk_mb']:,.0f} on disk)"]
        for r in results
    ]
    table([f"codes, batches of {args.batch}", "images/s", "ms a batch", "first s", "MB of codes"], rows)
    print()
    rows = [[r["what"], r["own_before_mb"], r["own_after_mb"], r["file_before_mb"], r["file_after_mb"], f"{r['read']:,}"] for r in results]
    table(["resident MB", "own before", "own after", "file pages before", "after", "images read"], rows)
    return results
