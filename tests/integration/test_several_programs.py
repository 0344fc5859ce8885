""""""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.reference_images import Space, image_set
from PIL import Image

from d3pm_image.evaluation.reference_stats import reference
from d3pm_image.locks import Locked, file_lock


def hold(path, ready):
    with file_lock(path):
        child = os.fork()  # a helper that outlives its parent, as a loader process does for some seconds
        if not child:
            time.sleep(3)
            os._exit(0)
        ready.set()
        time.sleep(60)


def test_another_process_is_refused_by_name_and_a_killed_one_holds_nothing(tmp_path):
    path, context = tmp_path / "lock", multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=hold, args=(path, ready))
    other.start()
    assert ready.wait(30)
    with pytest.raises(Locked, match=f"process {other.pid} on "), file_lock(path):
        pass
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with file_lock(path, patience_s=1):  # its forked helper still lives
        pass


def test_a_lock_is_waited_for(tmp_path):
    context = multiprocessing.get_context("fork")

    def short(ready):
        with file_lock(tmp_path / "lock"):
            ready.set()
            time.sleep(0.5)

    ready = context.Event()
    other = context.Process(target=short, args=(ready,))
    other.start()
    assert ready.wait(30)
    began = time.monotonic()
    with file_lock(tmp_path / "lock", patience_s=30):
        assert 0.1 < time.monotonic() - began < 20
    other.join()


def in_turn(path, record, number):
    for _ in range(20):
        with file_lock(path, patience_s=60, remove=True):
            with open(record, "a") as file:
                file.write(f"{number} in\n")
            time.sleep(0.001)
            with open(record, "a") as file:
                file.write(f"{number} out\n")
        time.sleep(0.001)


def test_a_lock_whose_file_is_removed_still_excludes(tmp_path, monkeypatch):
    """Who opened the file that was then removed notices that its lock is on a file without a name."""
    monkeypatch.setattr(
        time, "sleep", lambda seconds, real=time.sleep: real(min(seconds, 0.002))
    )  # many tries
    context = multiprocessing.get_context("fork")
    four = [
        context.Process(target=in_turn, args=(tmp_path / "lock", tmp_path / "record", number))
        for number in range(4)
    ]
    for one in four:
        one.start()
    for one in four:
        one.join(120)
    lines = (tmp_path / "record").read_text().splitlines()
    assert [one.exitcode for one in four] == [0] * 4 and len(lines) == 160
    assert all(lines[i].split() == [lines[i + 1].split()[0], "in"] for i in range(0, 160, 2))
    assert not (tmp_path / "lock").exists()


def one_program(folder: Path, counts) -> None:
    space = Space(0.3)
    reference(image_set(), space(), folder)
    counts.put(space.count)


def test_two_programs_make_one_reference(tmp_path):
    context = multiprocessing.get_context("fork")
    counts = context.Queue()
    both = [context.Process(target=one_program, args=(tmp_path, counts)) for _ in range(2)]
    for one in both:
        one.start()
    found = sorted(counts.get(timeout=60) for _ in both)
    for one in both:
        one.join(30)
    assert found == [0, 40] and len(list(tmp_path.iterdir())) == 1


SHIPPED = "fashion-mnist"


@pytest.mark.slow
def test_two_programs_at_once_take_two_names(tmp_path):
    words = [
        sys.executable,
        "-m",
        "d3pm_image",
        "generate",
        SHIPPED,
        "--num-images",
        "1",
        "--steps",
        "1",
        "--out",
        "g.png",
        "--seed",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen([*words, str(seed)], cwd=tmp_path, env=env, stdout=subprocess.PIPE)
        for seed in (1, 2)
    ]
    assert all(b"g" in one.communicate()[0] for one in both)
    a, b = (np.asarray(Image.open(tmp_path / name)) for name in ("g.png", "g-2.png"))
    assert not np.array_equal(a, b)
