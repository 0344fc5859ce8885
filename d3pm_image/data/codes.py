"""Cached codes: every image encoded once, memory-mapped, tied by hash to the tokenizer and the data.

A cache is a folder ``<hash>`` (:mod:`.code_files`); variant 1 of its codes, where present, holds the mirrored images. It is written beside its
place, batch by batch, by one process or several, and renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..config import ConfigError, DataConfig, size_pair
from ..storage import replace_folder
from .code_files import SHARD_IMAGES, CodeFiles, CodeWriter, Layout, prepare
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
        **images.preparation(),
    }
    labels = images.source.labels
    named = {"labels": None if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(), "classes": images.source.class_names}
    parts = {"tokenizer": tokenizer_sha256, "data": images.source.fingerprint, "prepared": prepared, "named": named, "format": 2}
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Team:
    """The processes that encode together: this one's number, how many there are, and a call that waits for all."""

    rank: int = 0
    world: int = 1
    wait: Callable[[], object] = lambda: None


def build_cache(
    images: ImageSet,
    encode: Callable[[Tensor], Tensor],
    key: str,
    root: str | Path = "",
    batch_size: int = 256,
    quiet: bool = False,
    team: Team | None = None,
    shard_images: int = SHARD_IMAGES,
) -> Path:
    """Encode all images (and their mirror images where flips are configured) unless the cache is there already. An encoding that was
    killed goes on with the batches that are missing.

    Args:
        images: Plain (not augmented) image set.
        encode: uint8 images (B, C, h, w) → codes (B, H, W).
        key: From :func:`cache_key`.
        root: Parent folder; default ``~/.cache/d3pm_image/codes``.
        team: Processes that share the work, on one file system; each calls this function.
        shard_images: Larger sets are written in files of so many images. Where files of a cache are damaged, only they are encoded again.

    Returns:
        The cache folder.
    """
    team = team or Team()
    place = (Path(root).expanduser() if root else cache_root() / "codes") / key
    there = is_whole(place, quiet)
    team.wait()  # all have looked before one of them writes
    if there:
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with claimed(place.with_name(f".{key}.part"), team) as part:
        if team.rank == 0:
            grid = encode(images.__getitems__([0])["images"]).shape[1:]
            layout = Layout(2 if images.config.flip else 1, len(images), tuple(grid), shard_images if len(images) > shard_images else 0)
            prepare(part, place, layout, batch_size)
            meta = {"count": layout.count, "variants": layout.variants, "grid": list(grid), "class_names": list(images.source.class_names)}
            (part / "meta.json").write_text(
                json.dumps(meta | ({"shard": layout.shard} if layout.shard else {}), indent=1), encoding="utf-8"
            )
        team.wait()
        _write(images, encode, part, batch_size, quiet, team)
        team.wait()
        if team.rank == 0:
            for name in (DONE, LOCK):
                (part / name).unlink(missing_ok=True)
            replace_folder(part, place)
    team.wait()
    return place


def locked(file: TextIO) -> bool:
    """Lock a file for this program as long as it is open; False where another has it. Systems without such locks always say yes."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


DONE, LOCK = "done.npy", "lock"


@contextlib.contextmanager
def claimed(part: Path, team: Team) -> Iterator[Path]:
    """The folder of an unfinished cache, for one team at a time: where another program is at work in it, a folder of this one's own,
    which is removed if the work fails."""
    if team.world > 1:  # teams are started together and know of each other
        part.mkdir(exist_ok=True)
        yield part
        return
    part.mkdir(exist_ok=True)
    with open(part / LOCK, "w", encoding="utf-8") as lock:
        if not locked(lock):
            own = part.with_name(f"{part.stem}.{os.getpid()}.part")
            own.mkdir()
            try:
                yield own
            finally:
                shutil.rmtree(own, ignore_errors=True)
            return
        yield part


def is_whole(place: Path, quiet: bool = False) -> bool:
    """Whether a cache is there with all that its meta.json says; files that are damaged are named, and will be made again."""
    if not (place / "meta.json").is_file():
        return False
    try:
        layout = Layout.of(place)
        wrong, total = layout.damaged(place), layout.files
    except (OSError, ValueError, KeyError, TypeError):
        wrong, total = ["meta.json"], 1
    if wrong and not quiet:
        again = f"encoding {len(wrong)} of {total} files anew" if set(wrong).isdisjoint({"meta.json", "labels.npy"}) else "encoding anew"
        print(f"the code cache {place} is damaged ({', '.join(wrong[:5])}): {again}", file=sys.stderr)
    return not wrong


def _write(images: ImageSet, encode: Callable[[Tensor], Tensor], part: Path, batch_size: int, quiet: bool, team: Team) -> None:
    """Encode this process's share of the batches that are not done."""
    done, layout = np.load(part / DONE), Layout.of(part)
    writer = CodeWriter(part, layout)
    mine = [number for number in range(team.rank, len(done), team.world) if not done[number]]
    for number in tqdm(mine, desc="encoding", unit="batch", disable=quiet, leave=False):
        batch = images.__getitems__(list(range(number * batch_size, min((number + 1) * batch_size, layout.count))))
        pictures = [batch["images"], batch["images"].flip(-1)][: layout.variants]
        writer.write(number * batch_size, [encode(some).cpu().numpy() for some in pictures], batch["labels"].numpy())
        writer.finish(number)


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
        self.codes = CodeFiles(place)
        self.labels = np.load(place / "labels.npy", mmap_mode="r")
        self.seed, self.augment = seed, augment

    @property
    def grid(self) -> tuple[int, int]:
        """(H, W) of the codes."""
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
        codes = self.codes.read(variant, index).astype(np.int64).reshape(len(keys), -1)
        most = int(codes.max(initial=0))
        if self.num_codes and most >= self.num_codes:
            file = self.place / self.codes.name(int(index[codes.max(1).argmax()]))
            raise ConfigError("cache", str(file), f"holds code {most} of {self.num_codes}; remove it, it is made again")
        return {"codes": torch.from_numpy(codes), "labels": torch.from_numpy(self.labels[index])}
