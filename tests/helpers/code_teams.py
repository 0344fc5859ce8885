"""Programs, each of one or two processes, that make one code cache at the same time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from d3pm_image.config import DataConfig
from d3pm_image.data.codes import CodeSet, Team, build_cache
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet

COUNT, BATCH, SLOW_S = 23, 5, 0.01


def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(1, 256, (COUNT, 8, 8), np.uint8)
    source = ImageSource(
        [str(i) for i in range(COUNT)], np.arange(COUNT) % 5, tuple("abcde"), Arrays(pixels), "f"
    )
    return ImageSet(source, DataConfig("folder", "x", image_size=8, channels=1))


def encode(batch: torch.Tensor) -> torch.Tensor:
    return batch[:, 0, ::4, ::2].long() * 200


def slow_disk() -> None:
    """Every fsync takes a while, as on a disk that is busy: the time in which another program could spoil what is renamed next."""
    real = os.fsync

    def slow(handle: int) -> None:
        real(handle)
        time.sleep(SLOW_S)

    os.fsync = slow


def wait_for_the_last_batch(part: Path) -> None:
    """Until another program has encoded everything and is about to put the cache in its place."""
    seen = False
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            seen = seen or bool(np.load(part / "done.npy").all())
        except (OSError, ValueError, EOFError):
            if seen or part.with_name("k").exists():
                break
        if seen:
            break
        time.sleep(0.0005)
    time.sleep(SLOW_S / 2)


def work(root: Path, second: bool, team: Team | None = None) -> None:
    """One program: the second begins when the first is about to finish. Ends with an error where the cache is wrong."""
    if second and (team is None or team.rank == 0):
        wait_for_the_last_batch(root / ".k.part")
    place = build_cache(images(), encode, "k", root, BATCH, quiet=True, team=team)
    expected = encode(torch.from_numpy(images().source.load.pixels)[:, None])
    found = CodeSet(place).__getitems__(list(range(COUNT)))
    assert torch.equal(found["codes"], expected.flatten(1)), "wrong codes"
    assert found["labels"].tolist() == [i % 5 for i in range(COUNT)], "wrong labels"


def team_rounds(root: Path, second: bool, rounds: int, **where) -> None:
    """What each process of a team does: the rounds of a race, each begun by all four processes together."""
    dist.init_process_group("gloo", **where)
    team = Team(dist.get_rank(), dist.get_world_size(), dist.barrier)
    slow_disk()
    for number in range(rounds):
        (root / f"{number}").mkdir(exist_ok=True)
        (root / f"at-{number}-{second}-{team.rank}").touch()
        while len(list(root.glob(f"at-{number}-*"))) < 4:
            time.sleep(0.002)
        work(root / f"{number}", second, team)
    dist.destroy_process_group()
