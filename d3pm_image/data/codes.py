"""Cached codes: every image encoded once, memory-mapped, tied by hash to the tokenizer and the data.

A cache is a folder ``<hash>`` with ``codes.npy`` uint16 (variants, n, H, W), ``labels.npy`` int64 (n,) and
``meta.json``; variant 1, where present, holds the mirrored images. It is written beside its place and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..config import DataConfig, need, size_pair
from ..storage import replace_folder
from .images import ImageSet, coins
from .sources import cache_root


def cache_key(tokenizer_sha256: str, images: ImageSet) -> str:
    """Hex key of what the codes depend on: tokenizer weights, the images, and how they were prepared."""
    config: DataConfig = images.config
    prepared = {
        "size": size_pair(config.image_size),
        "channels": config.channels,
        "crop": config.crop if config.crop == "stretch" else "center",
        "flip": config.flip,
    }
    labels = images.source.labels
    named = {"labels": None if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(), "classes": images.source.class_names}
    parts = {"tokenizer": tokenizer_sha256, "data": images.source.fingerprint, "prepared": prepared, "named": named, "format": 2}
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def build_cache(
    images: ImageSet, encode: Callable[[Tensor], Tensor], key: str, root: str | Path = "", batch_size: int = 256, quiet: bool = False
) -> Path:
    """Encode all images (and their mirror images where flips are configured) unless the cache is there already.

    Args:
        images: Plain (not augmented) image set.
        encode: uint8 images (B, C, h, w) → codes (B, H, W).
        key: From :func:`cache_key`.
        root: Parent folder; default ``~/.cache/d3pm_image/codes``.

    Returns:
        The cache folder.
    """
    place = (Path(root).expanduser() if root else cache_root() / "codes") / key
    if is_whole(place, quiet):
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{key}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        _write(images, encode, part, batch_size, quiet)
        replace_folder(part, place)
    except OSError:
        if not is_whole(place):  # another process may have finished first
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def is_whole(place: Path, quiet: bool = False) -> bool:
    """Whether a cache is there with all that its meta.json says; a damaged one is named, and will be made again."""
    if not (place / "meta.json").is_file():
        return False
    try:
        meta = json.loads((place / "meta.json").read_text(encoding="utf-8"))
        codes, labels = np.load(place / "codes.npy", mmap_mode="r"), np.load(place / "labels.npy")
        whole = (
            codes.shape == (meta["variants"], meta["count"], *meta["grid"]) and codes.dtype == np.uint16 and len(labels) == meta["count"]
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        whole, codes = False, error
    if not whole and not quiet:
        print(f"the code cache {place} is damaged ({getattr(codes, 'shape', codes)}): encoding anew", file=sys.stderr)
    return whole


def _write(images: ImageSet, encode: Callable[[Tensor], Tensor], part: Path, batch_size: int, quiet: bool) -> None:
    variants, count, out = 2 if images.config.flip else 1, len(images), None
    labels = np.full(count, -1, np.int64)
    for start in tqdm(range(0, count, batch_size), desc="encoding", unit="batch", disable=quiet, leave=False):
        keys = list(range(start, min(start + batch_size, count)))
        batch = images.__getitems__(keys)
        labels[start : start + len(keys)] = batch["labels"].numpy()
        for variant in range(variants):
            codes = encode(batch["images"].flip(-1) if variant else batch["images"]).cpu().numpy()
            if out is None:
                out = np.lib.format.open_memmap(part / "codes.npy", "w+", np.uint16, (variants, count, *codes.shape[1:]))
            out[variant, start : start + len(keys)] = codes
    assert out is not None
    out.flush()
    np.save(part / "labels.npy", labels)
    meta = {"count": count, "variants": variants, "grid": list(out.shape[2:]), "class_names": list(images.source.class_names)}
    (part / "meta.json").write_text(json.dumps(meta, indent=1), encoding="utf-8")


class CodeSet(Dataset):
    """Cached codes as a training set; keys as in :class:`~d3pm_image.data.images.ImageSet`.

    Args:
        place: Cache folder.
        seed: Seed of the choice between an image and its mirror image.
        augment: Choose at random; otherwise always the plain image.
        num_codes: K; a larger code in the files is refused when it is read. 0 does not look.
    """

    def __init__(self, place: Path, seed: int = 0, augment: bool = True, num_codes: int = 0):
        self.place, self.num_codes = place, num_codes
        self.codes = np.load(place / "codes.npy", mmap_mode="r")
        self.labels = np.load(place / "labels.npy")
        self.seed, self.augment = seed, augment

    @property
    def grid(self) -> tuple[int, int]:
        return self.codes.shape[2], self.codes.shape[3]

    def __len__(self) -> int:
        return self.codes.shape[1]

    def __getitems__(self, keys: list[int]) -> dict[str, Tensor]:
        """Batch {codes: int64 (B, N), labels: int64 (B,)}.

        Raises:
            ConfigError: a code that the tokenizer does not have.
        """
        positions = np.asarray(keys, np.int64)
        epoch, index = positions // len(self), positions % len(self)
        variant = np.zeros(len(keys), np.int64)
        if self.augment and self.codes.shape[0] == 2:
            variant = np.concatenate([coins(self.seed, int(e), index[i : i + 1], 1)[:, 0] < 0.5 for i, e in enumerate(epoch)]).astype(
                np.int64
            )
        codes = self.codes[variant, index].astype(np.int64).reshape(len(keys), -1)
        most = int(codes.max(initial=0))
        need(
            most < self.num_codes or not self.num_codes,
            "cache",
            str(self.place),
            f"holds code {most} of {self.num_codes}; remove it, it is made again",
        )
        return {"codes": torch.from_numpy(codes), "labels": torch.from_numpy(self.labels[index])}
