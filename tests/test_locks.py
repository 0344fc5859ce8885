"""One holder at a time; the lock goes with the process that held it."""

from __future__ import annotations

import errno
import os
import time

import pytest

from d3pm_image.locks import Locked, file_lock


def test_one_process_does_not_lock_twice(tmp_path):
    with file_lock(tmp_path / "lock"), pytest.raises(Locked, match="this one"), file_lock(tmp_path / "lock"):
        pass
    with file_lock(tmp_path / "lock"):
        pass


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


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_worked_on_without(tmp_path, monkeypatch, number):
    import fcntl

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with file_lock(tmp_path / "lock"):
        pass
    monkeypatch.setattr(
        fcntl, "lockf", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "a failing disk"))
    )
    with pytest.raises(OSError, match="a failing disk"), file_lock(tmp_path / "lock"):
        pass
