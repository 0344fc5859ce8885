"""How far the codes of tokenizers change around a filled hole, on held-out images of the data they were
trained on.

    python scripts/receptive_table.py docs/results/editing_receptive.json runs/eurosat/tokenizer

For each tokenizer the share of codes that differ once a hole is filled in, by distance from the hole in cells
(the last one: all further away), for random boxes with sides of a quarter to a half of the image's and for
the right half; and the smallest ring beyond which the share is less than 5 points above that far away
(d3pm_image/editing/receptive.py)."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from d3pm_image.config import DataConfig
from d3pm_image.data.images import ImageSet
from d3pm_image.data.sources import open_source
from d3pm_image.editing.receptive import disturbed_shares, smallest_ring
from d3pm_image.tokenizer import load_tokenizer

FURTHEST = 4


def boxes(count: int, size: tuple[int, int], seed: int = 0) -> Tensor:
    """Random boxes with sides of a quarter to a half of an image's, (count, h, w) bool."""
    shares = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)).tolist()
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask, (of_size, of_rest) in zip(masks, shares, strict=True):
        height, width = (round(length * (1 + share) / 4) for length, share in zip(size, of_size, strict=True))
        top, left = round((size[0] - height) * of_rest[0]), round((size[1] - width) * of_rest[1])
        mask[top : top + height, left : left + width] = True
    return masks


def measure(name: str, count: int) -> dict:
    """Shares and rings of one tokenizer."""
    tokenizer, info = load_tokenizer(name)
    data = DataConfig(**info.metadata["data"])
    held_out = ImageSet(open_source(data, held_out=True), data)
    count = min(count, len(held_out))
    images = held_out.read(torch.linspace(0, len(held_out) - 1, count).long().tolist())
    half = torch.zeros(count, *info.image_size, dtype=torch.bool)
    half[..., info.image_size[1] // 2 :] = True
    row: dict = {"tokenizer": name, "image_size": info.image_size, "downsampling": tokenizer.downsampling}
    row["images"] = count
    for shape, masks in (("boxes", boxes(count, info.image_size)), ("halves", half)):
        shares = disturbed_shares(tokenizer, images, masks, FURTHEST)
        known = [None if math.isnan(share) else round(share, 3) for share in shares]
        row[shape] = {"shares": known, "ring": smallest_ring(shares)}
    return row


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("out", type=Path)
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--num-images", type=int, default=400)
    args = parser.parse_args()
    rows = []
    for name in args.tokenizers:
        rows.append(measure(name, args.num_images))
        print(json.dumps(rows[-1]), flush=True)
    args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
