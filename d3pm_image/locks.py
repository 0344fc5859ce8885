"""Kernel locks on files: one process at a time holds one, and the system releases it when that process ends,
in whatever way.

The lock is on a small file that stays; its content (process and host) is for the message to other processes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems without locks, such as some network disks."""
_HELD: set[str] = set()
"""Files locked by this process: POSIX locks do not exclude their own process."""
_GUARD = threading.Lock()
"""Held while a thread tries a lock: two threads of one process would both be given it."""


class Locked(OSError):
    """Another process holds the lock; the message names it."""

    def __init__(self, path: Path, holder: str):
        super().__init__(f"{path} is locked by {holder}")
        self.path, self.holder = path, holder


def _system_lock(file: IO[str]) -> bool:
    """Lock an open file without waiting; False where another process has it. Systems without such locks
    always say yes."""
    try:
        import fcntl
    except ImportError:
        return _windows_lock(file)
    try:
        # not flock: a forked helper would keep it after its parent's end
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def _windows_lock(file: IO[str]) -> bool:
    try:
        import msvcrt
    except ImportError:
        return True
    try:
        file.seek(1 << 20)  # past the text, which others may then still read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    except OSError:
        return False
    finally:
        file.seek(0)
    return True


def holder_of(path: Path) -> str:
    """The holder in a lock file: 'process 123 on host', or 'another process' if that cannot be read."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(known['pid'])} on {str(known['host'])[:100]!s}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _try(path: Path, name: str) -> IO[str] | None:
    """The lock file, opened and locked; None if another process has it."""
    with _GUARD:
        if name in _HELD:
            return None
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 (the holder closes it)
        try:
            # the holder before may have removed the file while it was being opened here: a lock without a
            # name excludes nobody
            if _system_lock(file) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                _HELD.add(name)
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()
    return None


@contextmanager
def file_lock(path: Path, patience_s: float = 0.0, remove: bool = False) -> Iterator[None]:
    """Hold the lock on a file, which is created if needed, for the length of a block.

    Args:
        path: Lock file; its folder exists. Only its holder removes it, because a lock on a removed file
            excludes nobody.
        patience_s: Seconds to wait for another holder before giving up; infinity waits for ever.
        remove: Remove the file at the end, while it is still locked; others that have opened it meanwhile
            notice that.

    Raises:
        Locked: another process, or another block of this one, holds it.
        OSError: the file cannot be made.
    """
    name, until = os.path.realpath(path), time.monotonic() + patience_s
    while (file := _try(path, name)) is None:
        if time.monotonic() >= until:
            time.sleep(0.1)  # a new holder writes itself into it next
            raise Locked(path, f"process {os.getpid()} (this one)" if name in _HELD else holder_of(path))
        time.sleep(0.2)
    try:
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield
    finally:
        if remove:
            # Windows does not remove an open file; it may stay
            with contextlib.suppress(OSError):
                path.unlink()
        with _GUARD:
            _HELD.discard(name)
            file.close()


def locked_folder(
    held: contextlib.ExitStack, name: str, prefix: str, suffix: str = "", dir: Path | None = None
) -> Path:
    """A new temporary folder with a lock in it, which ``held`` releases. Another process that looks for
    left-overs may remove the folder before its lock is held; then a new one is made.

    Args:
        name: The lock's file.
        prefix, suffix, dir: As :func:`tempfile.mkdtemp` takes them.

    Raises:
        OSError: the folder cannot be made.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=dir))
        with contextlib.ExitStack() as trial, contextlib.suppress(Locked, FileNotFoundError):
            trial.enter_context(file_lock(folder / name))
            if (folder / name).exists():
                held.push(trial.pop_all())
                return folder


@contextmanager
def waiting_lock(path: Path, what: str, patience_s: float = float("inf")) -> Iterator[None]:
    """Hold a lock as :func:`file_lock` does, and remove its file at the end; a process that has to wait
    prints the holder on stderr, once.

    Args:
        what: What the holder makes, for that message.

    Raises:
        Locked: it was held for longer than ``patience_s``.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path, remove=True))
        except Locked as held:
            print(f"waiting for {held.holder}, which is making {what}", file=sys.stderr, flush=True)
            stack.enter_context(file_lock(path, patience_s, remove=True))
        yield
