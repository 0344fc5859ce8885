"""One holder at a time; the lock goes with the process that held it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

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


def test_one_process_does_not_lock_twice(tmp_path):
    with file_lock(tmp_path / "lock"), pytest.raises(Locked, match="this one"), file_lock(tmp_path / "lock"):
        pass
    with file_lock(tmp_path / "lock"):
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


def test_a_file_that_lost_its_name_while_it_was_opened_is_not_locked(tmp_path, monkeypatch):
    """Whoever opened it before its holder removed it would exclude nobody."""
    from d3pm_image import locks

    path, real = tmp_path / "lock", locks._system_lock

    def late(file):
        path.unlink()
        return real(file)

    monkeypatch.setattr(locks, "_system_lock", late)
    with pytest.raises(Locked), file_lock(path):
        pass
