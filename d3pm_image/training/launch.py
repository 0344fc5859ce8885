"""Several processes that work together: checks of their environment variables, and limits of waiting for each
other."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from ..config import ConfigError, check

TELL_S, GIVE_UP_S = 20.0, 900.0
"""Seconds of waiting for the other processes after which this one says so, and ends."""
UNSET = (
    "left over from another program? unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT; to use several"
    " processes start with torchrun"
)


def number(name: str, least: int) -> int | None:
    """An environment variable; None where it is not set or empty.

    Raises:
        ConfigError: it is not a whole number, or less than ``least``.
    """
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(name, text, f"(an environment variable) is not a whole number; {UNSET}") from None
    check(value >= least, name, value, f"(an environment variable) must be {least} or more; {UNSET}")
    return value


def check_launch() -> int:
    """Number of processes that were started together.

    Raises:
        ConfigError: the environment's variables contradict one another, such as those left by another
            program.
    """
    world, rank, local = number("WORLD_SIZE", 1), number("RANK", 0), number("LOCAL_RANK", -1)
    if rank:
        hint = f"(an environment variable) does not go with WORLD_SIZE={world}; {UNSET}"
        check(world is not None and rank < world, "RANK", rank, hint)
    if world is None or world == 1:
        return 1
    missing = [n for n, v in (("RANK", rank), ("LOCAL_RANK", local)) if v is None]
    missing += [n for n in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(n)]
    hint = f"(an environment variable) stands alone, without {', '.join(missing)}; {UNSET}"
    check(not missing, "WORLD_SIZE", world, hint)
    number("MASTER_PORT", 1)
    return world


@contextlib.contextmanager
def meeting(world: int) -> Iterator[None]:
    """While the processes of a run wait for each other: print a line after some seconds, and end the program
    after minutes (torch would wait for hours, the time that one process may need for its work)."""
    if world == 1:
        yield
        return
    where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"

    def tell() -> None:
        print(
            f"waiting for the other processes (WORLD_SIZE={world}, {where}); {UNSET}",
            file=sys.stderr,
            flush=True,
        )

    def give_up() -> None:
        text = (
            f"error: WORLD_SIZE={world}: the other processes have not come to {where} within {GIVE_UP_S:.0f}"
            f" s; {UNSET}"
        )
        print(text, file=sys.stderr, flush=True)
        os._exit(1)

    timers = [threading.Timer(TELL_S, tell), threading.Timer(GIVE_UP_S, give_up)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def place_among_processes() -> tuple[int, int]:
    """This process's number and how many were started together, as torchrun says."""
    return number("RANK", 0) or 0, number("WORLD_SIZE", 1) or 1


PATIENCE = timedelta(hours=4)
"""How long processes wait for one another's work, once all have joined."""


def meet() -> None:
    """Join the other processes before any of them works alone; from then on they wait for hours. They
    exchange CPU tensors, whatever device they compute on."""
    _, processes = place_among_processes()
    from accelerate import PartialState

    with meeting(processes):
        PartialState(cpu=True, timeout=PATIENCE)
    if processes > 1:
        leave_at_exit()


def leave_at_exit() -> None:
    """Leave the process group when the program ends: a process whose group is still open then may be aborted
    after its work is done (torch ends the group's threads too late)."""
    atexit.unregister(leave_group)
    atexit.register(leave_group)


def leave_group() -> None:
    """Leave the process group."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def gathered(part: Any) -> list[Any]:
    """The values of all processes, in order, on each of them. They wait for one another here, and must have
    joined before."""
    if place_among_processes()[1] == 1:
        return [part]
    from accelerate.utils import gather_object

    return gather_object([part])
