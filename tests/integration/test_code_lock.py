"""Two programs that want one code cache: one makes it, under one lock that is held until after the rename; the other waits and takes it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.code_teams import BATCH, encode, images, slow_disk, team_rounds, work
from helpers.paths import ROOT
from helpers.tiny import free_port

from d3pm_image.data.codes import build_cache
from d3pm_image.locks import file_lock


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
from helpers.code_teams import team_rounds
team_rounds(Path(sys.argv[1]), sys.argv[2] == "second", int(sys.argv[3]))
"""


@pytest.mark.slow
def test_two_teams_under_torchrun_make_one_cache_fifty_times(tmp_path):
    script, both = tmp_path / "team.py", []
    script.write_text(TEAM.format(tests=str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("first", "second"):
        launch = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--nproc_per_node",
            "2",
            "--master_port",
            free_port(),
        ]
        command = [*launch, str(script), str(tmp_path), name, "50"]
        both.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        )
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
    build_cache(
        images(), lambda batch: batches.append(len(batch)) or encode(batch), "k", tmp_path, BATCH, quiet=True
    )
    assert batches == [1]  # to learn the grid
    work(tmp_path, False)
