"""Cached codes: every image encoded once, memory-mapped, tied by hash to the tokenizer and the data.

A cache is a folder ``<hash>`` (:mod:`.code_files`); variant 1 of its codes, where present, holds the mirrored
images. It is written beside its place, batch by batch, by one process or several, and renamed when it is
complete. One program (a process, or a team of processes) at a time makes a cache. It holds a lock beside the
cache's place until after the rename; others wait for it and then use the result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ..cache_folder import cache_root
from ..config import ConfigError, DataConfig, Tile, size_pair
from ..locks import waiting_lock
from ..storage import replace_folder, write_text
from .code_files import SHARD_IMAGES, CodeFiles, CodeWriter, Layout, prepare
from .code_sums import DAMAGED, write_sums
from .images import ImageSet, coins, rolled
from .on_device import Held, fits


def cache_key(tokenizer_sha256: str, images: ImageSet) -> str:
    """Hex key of what the codes depend on: tokenizer weights, the images, and how they were prepared."""
    return _key(tokenizer_sha256, images, images.source.fingerprint)


def former_key(tokenizer_sha256: str, images: ImageSet) -> str:
    """The key of the codes in versions that did not read contents; the same key for images that these
    identified by their contents."""
    return _key(tokenizer_sha256, images, images.source.known_as.former or images.source.fingerprint)


def _key(tokenizer_sha256: str, images: ImageSet, fingerprint: str) -> str:
    config: DataConfig = images.config
    prepared = {
        "size": size_pair(config.image_size),
        "channels": config.channels,
        "crop": config.fitting if config.fitting == "stretch" else "center",
        "flip": config.flip,
        **images.preparation(),
    }
    labels = images.source.labels
    named = {
        "labels": None if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(),
        "classes": images.source.class_names,
    }
    parts = {
        "tokenizer": tokenizer_sha256,
        "data": fingerprint,
        "prepared": prepared,
        "named": named,
        "format": 2,
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Team:
    """The processes that encode together: this one's number, how many there are, and a call that waits for
    all."""

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
    former: str = "",
) -> Path:
    """Encode all images (and their mirror images if flips are configured) unless the cache exists already. An
    encoding that was killed continues with the batches that are missing.

    Args:
        images: Plain (not augmented) image set.
        encode: uint8 images (B, C, h, w) → codes (B, H, W).
        key: From :func:`cache_key`.
        root: Parent folder; default ``~/.cache/d3pm_image/codes``.
        team: Processes that share the work, on one file system; each calls this function.
        shard_images: Larger sets are written in files of this many images. If files of a cache are damaged,
            only these are encoded again.
        former: From :func:`former_key`: a complete cache of an earlier version under this key is used if
            there is none under ``key``.

    Returns:
        The cache folder.
    """
    team = team or Team()
    parent = Path(root).expanduser() if root else cache_root() / "codes"
    place, old = parent / key, parent / former

    def found() -> Path:
        return old if former and old.is_dir() and not (place / "meta.json").is_file() else place

    part = place.with_name(f".{key}.part")
    with contextlib.ExitStack() as stack:
        # the first process decides, under the lock; the others read its decision from the folder, because
        # each might see another state
        work = team.rank == 0 and _claim(stack, images, part, place, found, team, quiet)
        if work:
            _begin(images, encode, part, place, batch_size, shard_images)
        team.wait()
        if work or (team.rank > 0 and (part / DONE).is_file()):
            _write(images, encode, part, batch_size, quiet, team)
            team.wait()
            if work:
                _finish(part, place)
        team.wait()
    return found()


DONE = "done.npy"
TEAM_PATIENCE_S = 3 * 3600.0
"""Processes of a team wait for one another 4 hours at most."""


def _claim(
    stack: contextlib.ExitStack,
    images: ImageSet,
    part: Path,
    place: Path,
    found: Callable[[], Path],
    team: Team,
    quiet: bool,
) -> bool:
    """Whether there is a cache to make; then its lock is held by ``stack``, and remains of killed programs
    are removed."""
    if is_whole(found(), True, len(images)) and (team.world == 1 or not part.exists()):
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    patience_s = float("inf") if team.world == 1 else TEAM_PATIENCE_S
    stack.enter_context(
        waiting_lock(place.with_name(f".{place.name}.lock"), f"the code cache {place}", patience_s)
    )
    for left in place.parent.iterdir():
        if left.name.startswith(f".{place.name}.") and left.name.endswith((".part", ".old")) and left != part:
            remove(left)
    if is_whole(found(), quiet, len(images)):  # the previous holder of the lock has made it
        remove(part)
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file or folder, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _begin(
    images: ImageSet,
    encode: Callable[[Tensor], Tensor],
    part: Path,
    place: Path,
    batch_size: int,
    shard_images: int,
) -> None:
    """The folder of an unfinished cache with all its files, and flags of the batches that are done."""
    grid = encode(images.__getitems__([0])["images"]).shape[1:]
    layout = Layout(
        2 if images.config.flip else 1,
        len(images),
        tuple(grid),
        shard_images if len(images) > shard_images else 0,
    )
    part.mkdir(exist_ok=True)
    prepare(part, place, layout, batch_size)
    meta = {
        "count": layout.count,
        "variants": layout.variants,
        "grid": list(grid),
        "class_names": list(images.source.class_names),
    }
    write_text(
        part / "meta.json", json.dumps(meta | ({"shard": layout.shard} if layout.shard else {}), indent=1)
    )


def _finish(part: Path, place: Path) -> None:
    """Add the checksums and put the cache in its place. The flags stay until then, so that a program that is
    killed here loses nothing."""
    names = Layout.of(part).names
    write_sums(part, names)
    for left in part.iterdir():
        if left.name not in (*names, "meta.json", DONE):
            remove(left)
    replace_folder(part, place)
    (place / DONE).unlink(missing_ok=True)


def is_whole(place: Path, quiet: bool = False, count: int = 0) -> bool:
    """Whether a cache exists and is complete by its meta.json; damaged files are reported, and will be made
    again.

    Args:
        count: Images that it must have; 0 for no check.

    Raises:
        OSError: it is there and cannot be read: no permission, say, or a failing disk.
    """
    if not (place / "meta.json").is_file():
        return False
    try:
        layout = Layout.of(place)
        wrong, total = layout.damaged(place), layout.files
        if count and layout.count != count:
            wrong = ["meta.json"]
    except DAMAGED:
        wrong, total = ["meta.json"], 1
    if wrong and not quiet:
        again = (
            f"encoding {len(wrong)} of {total} files again"
            if set(wrong).isdisjoint({"meta.json", "labels.npy"})
            else "encoding again"
        )
        print(f"the code cache {place} is damaged ({', '.join(wrong[:5])}): {again}", file=sys.stderr)
    return not wrong


def _write(
    images: ImageSet, encode: Callable[[Tensor], Tensor], part: Path, batch_size: int, quiet: bool, team: Team
) -> None:
    """Encode this process's share of the batches that are not done."""
    done, layout = np.load(part / DONE), Layout.of(part)
    writer = CodeWriter(part, layout)
    mine = [number for number in range(team.rank, len(done), team.world) if not done[number]]
    for number in tqdm(mine, desc="encoding", unit="batch", disable=quiet, leave=False):
        batch = images.__getitems__(
            list(range(number * batch_size, min((number + 1) * batch_size, layout.count)))
        )
        originals = [batch["images"], batch["images"].flip(-1)][: layout.variants]
        writer.write(
            number * batch_size, [encode(some).cpu().numpy() for some in originals], batch["labels"].numpy()
        )
        writer.finish(number)


AT_ONCE = 2**16
"""Images whose codes are copied to a device at once."""


class CodeSet(Dataset):
    """Cached codes as a training set; keys as in :class:`~d3pm_image.data.images.ImageSet`.

    Args:
        place: Cache folder.
        seed: Seed of the choice between an image and its mirror image.
        augment: Choose at random; otherwise always the plain image.
        num_codes: K; a larger code in the files is refused when it is read. 0 for no check.
        tile: Axes along which codes are rolled at random by whole cells: those of an image rolled by as many
            times the downsampling.
    """

    held_out: CodeSet | None = None
    """Codes of the held-out images, if they were encoded together."""

    def __init__(
        self, place: Path, seed: int = 0, augment: bool = True, num_codes: int = 0, tile: Tile = "none"
    ):
        self.place, self.num_codes, self.tile = place, num_codes, tile
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
            variant = np.concatenate(
                [coins(self.seed, int(e), index[i : i + 1], 1)[:, 0] < 0.5 for i, e in enumerate(epoch)]
            ).astype(np.int64)
        codes = torch.from_numpy(self.checked(variant, index).astype(np.int64))
        if self.augment and self.tile != "none":
            # a number per image mirrors it, the two after it roll it
            random = [coins(self.seed, int(e), index[i : i + 1], 3)[:, 1:] for i, e in enumerate(epoch)]
            codes = rolled(codes.view(-1, *self.grid), np.concatenate(random), self.tile).flatten(1)
        return {"codes": codes, "labels": torch.from_numpy(self.labels[index])}

    def checked(self, variant: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Codes uint16 (b, N) of images in one of their variants.

        Raises:
            ConfigError: a code that the tokenizer does not have.
        """
        codes = self.codes.read(variant, index).reshape(len(index), -1)
        most = int(codes.max(initial=0))
        if self.num_codes and most >= self.num_codes:
            file = self.place / self.codes.name(int(index[codes.max(1).argmax()]))
            raise ConfigError(
                "cache", str(file), f"holds code {most} of {self.num_codes}; remove it, it is made again"
            )
        return codes

    def on_device(self, device: torch.device) -> Held | None:
        """All codes on a device that keeps its data and has space for them, where they are not rolled;
        otherwise None."""
        if self.augment and self.tile != "none":
            return None
        variants, count, tokens = self.codes.shape[0], len(self), self.grid[0] * self.grid[1]
        used = variants if self.augment else 1
        kind = torch.int16 if 0 < self.num_codes <= 2**15 else torch.int32
        if not fits(used * count * tokens * kind.itemsize, device):
            return None
        rows = torch.empty(used * count, tokens, dtype=kind, device=device)
        for start in range(0, used * count, AT_ONCE):
            at = np.arange(start, min(start + AT_ONCE, used * count))
            part = self.checked(at // count, at % count).astype(np.int32)
            rows[start : start + len(at)] = torch.from_numpy(part).to(device)
        labels = torch.from_numpy(np.array(self.labels)).to(device)
        return Held("codes", rows, labels, self.seed, "variants" if used == 2 else "none")
