"""Two programs that want one code cache: one makes it, under one lock that is held until after the rename; the other waits and takes it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from conftest import ROOT, free_port

from d3pm_image.config import DataConfig
from d3pm_image.data.codes import CodeSet, Team, build_cache
from d3pm_image.data.image_source import Arrays, ImageSource
from d3pm_image.data.images import ImageSet
from d3pm_image.locks import file_lock

COUNT, BATCH, SLOW_S = 23, 5, 0.01


def images() -> ImageSet:
    pixels = np.random.default_rng(0).integers(1, 256, (COUNT, 8, 8), np.uint8)
    source = ImageSource([str(i) for i in range(COUNT)], np.arange(COUNT) % 5, tuple("abcde"), Arrays(pixels), "f")
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


def run_program(root: Path, second: bool) -> None:
    slow_disk()
    work(root, second)


def race(root: Path) -> bool:
    """Two programs; whether both ended well and left one whole cache and nothing else."""
    root.mkdir()
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=run_program, args=(root, second)) for second in (False, True)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    return [one.exitcode for one in both] == [0, 0] and [p.name for p in root.iterdir()] == ["k"]


def test_two_programs_make_one_cache(tmp_path):
    assert [race(tmp_path / str(number)) for number in range(4)] == [True] * 4


@pytest.mark.slow
def test_two_programs_make_one_cache_fifty_times(tmp_path):
    assert sum(race(tmp_path / str(number)) for number in range(50)) == 50


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


def made(root: Path, rounds: int) -> list[list[str]]:
    return [[p.name for p in (root / str(number)).iterdir()] for number in range(rounds)]


def test_two_teams_of_two_processes_make_one_cache(tmp_path):
    context, four = multiprocessing.get_context("fork"), []
    for second in (False, True):
        meet = f"file://{tmp_path}/meet-{second}"
        for rank in range(2):
            where = {"init_method": meet, "rank": rank, "world_size": 2}
            four.append(context.Process(target=team_rounds, args=(tmp_path, second, 4), kwargs=where))
            four[-1].start()
    for one in four:
        one.join(120)
    assert [one.exitcode for one in four] == [0] * 4 and made(tmp_path, 4) == [["k"]] * 4


TEAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_code_lock import team_rounds
team_rounds(Path(sys.argv[1]), sys.argv[2] == "second", int(sys.argv[3]))
"""


@pytest.mark.slow
def test_two_teams_under_torchrun_make_one_cache_fifty_times(tmp_path):
    script, both = tmp_path / "team.py", []
    script.write_text(TEAM.format(tests=str(Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("first", "second"):
        launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()]
        command = [*launch, str(script), str(tmp_path), name, "50"]
        both.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True))
    for one in both:
        _, errors = one.communicate(timeout=400)
        assert one.returncode == 0, errors[-3000:]
    assert made(tmp_path, 50) == [["k"]] * 50


def hold(path: Path, ready, seconds: float) -> None:
    with file_lock(path):
        ready.set()
        time.sleep(seconds)


def test_who_waits_says_for_whom_and_a_killed_holder_is_not_waited_for(tmp_path, capfd):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=hold, args=(tmp_path / ".k.lock", ready, 60))
    other.start()
    assert ready.wait(30)
    mine = context.Process(target=work, args=(tmp_path, False))
    mine.start()
    time.sleep(1)
    assert mine.is_alive()
    other.kill()
    mine.join(30)
    assert mine.exitcode == 0
    assert f"waiting for process {other.pid} on " in capfd.readouterr().err


def test_what_killed_programs_left_is_removed_under_the_lock(tmp_path):
    for name in (".k.123.part", ".k.456.old", ".k.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lock").touch()
    (tmp_path / ".other.123.part").mkdir()
    work(tmp_path, False)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".other.123.part", "k"]
    assert sorted(p.name for p in (tmp_path / "k").iterdir()) == ["codes.npy", "labels.npy", "meta.json"]


def test_a_program_killed_before_the_rename_encodes_nothing_twice(tmp_path, monkeypatch):
    from d3pm_image.data import codes

    def killed(part, place):
        raise KeyboardInterrupt

    monkeypatch.setattr(codes, "replace_folder", killed)
    with pytest.raises(KeyboardInterrupt):
        work(tmp_path, False)
    monkeypatch.undo()
    batches = []
    build_cache(images(), lambda batch: batches.append(len(batch)) or encode(batch), "k", tmp_path, BATCH, quiet=True)
    assert batches == [1]  # to learn the grid
    work(tmp_path, False)
