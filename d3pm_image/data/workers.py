"""Batches from helper processes: every wait for one has a limit, a dead helper is noticed, and a small
/dev/shm is sufficient.

torch hands tensors from process to process through shared memory, which containers limit (Docker gives
/dev/shm 64 MB). If it has no space for the batches in transit, they go through pipes instead, as arrays: one
copy more, but no limit. Exceptions of a set in a helper are raised here unchanged, not as torch's text of a
traceback.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import multiprocessing.queues
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

SHARED_MEMORY = Path("/dev/shm")
AHEAD = 4
"""Batches that a helper reads before they are asked for."""
LIMIT_S = 600.0
"""Seconds to wait for one batch while all helpers live."""
LOOK_S = 5.0
"""Seconds between two checks whether they live."""
WITHOUT = (
    f"look at the space in {SHARED_MEMORY} (docker run --shm-size) and at the memory, or read without"
    " helpers: --data.workers 0"
)


class LoaderError(RuntimeError):
    """Helper processes cannot give batches; the message, one line, says what to do."""


class HelperDied(RuntimeError):
    """A helper ended while its batch was waited for."""


class CannotStart(RuntimeError):
    """No helper can be started: their semaphores lie in shared memory, too."""


@dataclass(frozen=True)
class Failure:
    """An error of a helper in place of a batch."""

    error: Exception


class Guarded(Dataset):
    """A set whose errors are values, so that they keep their kind and text on the way from a helper."""

    def __init__(self, dataset: Any):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, keys: list[int]) -> Any:
        """The set's batch, or a :class:`Failure`."""
        try:
            return self.dataset.__getitems__(keys)
        except Exception as error:
            return Failure(portable(error))


def portable(error: Exception) -> Exception:
    """An exception that another process can read: itself, or one of its kind and text."""
    try:
        pickle.dumps(error)
        if str(copy.copy(error)) == str(error):  # made again from its parts, as in the other process
            return error
    except Exception:  # whatever its class does when it is copied
        pass
    return RuntimeError(f"{type(error).__name__}: {error}")


@dataclass(frozen=True)
class Sender:
    """Prepares a finished batch, in a helper, for its way to the main process (a DataLoader's
    ``collate_fn``).

    Args:
        helpers: How many share the memory.
        share: False sends all through pipes.
    """

    helpers: int
    share: bool

    def __call__(self, batch: Any) -> Any:
        if isinstance(batch, Failure) or (self.share and has_room(batch, self.helpers)):
            return batch
        return {name: value.numpy() for name, value in batch.items()}


def has_room(batch: dict[str, torch.Tensor], helpers: int) -> bool:
    """Whether the shared memory holds all batches that may be under way, twice."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        state = os.statvfs(SHARED_MEMORY)
    except OSError:
        return False
    needed = sum(value.nbytes for value in batch.values()) * (AHEAD + 1) * helpers
    return os.access(SHARED_MEMORY, os.W_OK) and state.f_bavail * state.f_frsize >= 2 * needed


def received(batch: Any) -> dict[str, torch.Tensor]:
    """A batch as it was before it was sent. Raises what its helper met."""
    if isinstance(batch, Failure):
        raise batch.error
    return {
        name: value if isinstance(value, torch.Tensor) else torch.from_numpy(value)
        for name, value in batch.items()
    }


def prepare_helper(number: int) -> None:
    """Helpers leave signals to the main process, which saves before it stops; one that cannot send a batch
    ends, which is noticed (else the batch would be missing for ever)."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def end(error: Exception, item: object) -> None:
        print(f"a batch cannot be sent ({' '.join(str(error).split())})", file=sys.stderr, flush=True)
        os._exit(1)

    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(end)  # type: ignore[attr-defined]


@contextlib.contextmanager
def started(
    dataset: Dataset, order: Iterable[list[int]], workers: int, pin: bool, share: bool
) -> Iterator[Iterator[Any]]:
    """Helpers at work, and their batches in order; none is left when the block is left.

    Raises:
        CannotStart: not one.
    """
    before = set(multiprocessing.active_children())
    helpers: set[Any] = set()
    try:
        loader = DataLoader(
            Guarded(dataset), batch_sampler=order, num_workers=workers, pin_memory=pin,
            collate_fn=Sender(workers, share),
            prefetch_factor=AHEAD, worker_init_fn=prepare_helper, timeout=LOOK_S,
        )  # fmt: skip
        watched = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
        try:
            # as many as it needs; halfway, torch complains on its own
            probes = [multiprocessing.Lock() for _ in range(8 + 8 * workers)]
            del probes
            iterator = iter(loader)
        except (OSError, RuntimeError) as error:
            raise CannotStart(" ".join(str(error).split())) from error
        finally:
            helpers = set(multiprocessing.active_children()) - before
        # not the main thread, or no such signal
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            # torch's handler raises wherever the program is just then, not where it waits
            signal.signal(signal.SIGCHLD, watched)
        yield iterator
    finally:
        iterator = None  # type: ignore[assignment]
        for helper in helpers:
            # the caller still holds the iterator, so torch has not ended them; they only read, so nothing is
            # lost
            if helper.is_alive():
                helper.kill()
                helper.join(LOOK_S)


def awaited(iterator: Iterator[Any], workers: int) -> dict[str, torch.Tensor]:
    """The next batch of :func:`started`.

    Raises:
        HelperDied: one of them. LoaderError: none came within the limit. Others: what the set raised.
    """
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            batch = next(iterator)
        except RuntimeError as error:  # torch's own: those of the set are values
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            if "timed out" not in first:
                raise HelperDied(first) from error
            if time.monotonic() >= until:
                waited = (
                    f"no batch came from {workers} loader processes for {LIMIT_S:.0f} s, though they live"
                )
                raise LoaderError(f"{waited}: {WITHOUT}") from error
            continue
        return received(batch)
