"""One holder at a time; the lock goes with the process that held it."""

from __future__ import annotations

import errno
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


def test_two_threads_of_one_process_are_not_both_given_it(tmp_path):
    import threading

    inside, most = [], []

    def work():
        for _ in range(5):
            with file_lock(tmp_path / "lock", patience_s=60, remove=True):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(most) == 15 and max(most) == 1


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
    monkeypatch.setattr(time, "sleep", lambda seconds, real=time.sleep: real(min(seconds, 0.002)))  # many tries
    context = multiprocessing.get_context("fork")
    four = [context.Process(target=in_turn, args=(tmp_path / "lock", tmp_path / "record", number)) for number in range(4)]
    for one in four:
        one.start()
    for one in four:
        one.join(120)
    lines = (tmp_path / "record").read_text().splitlines()
    assert [one.exitcode for one in four] == [0] * 4 and len(lines) == 160
    assert all(lines[i].split() == [lines[i + 1].split()[0], "in"] for i in range(0, 160, 2))
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_worked_on_without(tmp_path, monkeypatch, number):
    import fcntl

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with file_lock(tmp_path / "lock"):
        pass
    monkeypatch.setattr(fcntl, "lockf", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "a failing disk")))
    with pytest.raises(OSError, match="a failing disk"), file_lock(tmp_path / "lock"):
        pass
