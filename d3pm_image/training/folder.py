"""A run's folder belongs to one run at a time: its lock, the remains of killed runs, and whether it may be
written to."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from ..config import ConfigError
from ..locks import Locked, file_lock
from ..outputs import folder_to_write
from ..printable import printable
from . import checkpoint as ckpt

LOCK = ".lock"
UNFINISHED = re.compile(r"\..+\.\d+\.part")
"""Names of files and folders that were being written: .NAME.PROCESS.part"""


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse to write over an earlier run.

    Raises:
        ConfigError: the folder holds checkpoints and resume was not asked for.
    """
    found = bool(ckpt.checkpoints(folder / "checkpoints"))
    finished = [name for name in ("model", "best") if (folder / name).exists()]
    if resume and finished and not found:
        raise ConfigError(
            "out", str(folder), f"has {finished[0]}/ but no checkpoint to resume from; choose another folder"
        )
    if not resume and (found or finished):
        raise ConfigError(
            "out",
            str(folder),
            "holds an earlier run; add --resume true to go on with it, or choose another folder",
        )


@contextlib.contextmanager
def run_folder(folder: Path, resume: bool, accelerator: Accelerator) -> Iterator[None]:
    """The folder of a run, locked for the length of a block and without remains of killed runs; all processes
    must call. A folder that nothing was written to is removed afterwards.

    Raises:
        ConfigError: another run is at work in it, or it holds an earlier one and resume was not asked for.
        OSError: it cannot be made.
    """
    error: ConfigError | OSError | None = None
    with contextlib.ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                stack.enter_context(locked(folder))
                check_folder(folder, resume)
                remove_leftovers(folder)
            except (ConfigError, OSError) as found:
                error = found
        if accelerator.num_processes > 1:
            error = shared(error)
        if error is not None:
            raise error
        yield


def shared(error: ConfigError | OSError | None) -> ConfigError | OSError | None:
    """The main process's error, on all processes."""
    fields = (
        [error.name, error.value, error.hint]
        if isinstance(error, ConfigError)
        else [str(error)]
        if error is not None
        else []
    )
    (fields,) = broadcast_object_list([fields])
    return None if not fields else ConfigError(*fields) if len(fields) == 3 else OSError(*fields)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A locked folder, which is created if missing. Raises ConfigError, with the holder's process and host,
    if another process has it."""
    folder_to_write(folder)
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with file_lock(folder / LOCK):
            try:
                yield
            finally:
                if [place.name for place in folder.iterdir()] == [LOCK]:  # nothing was written
                    with contextlib.suppress(OSError):
                        (folder / LOCK).unlink()
    except Locked as error:
        hint = (
            f"{printable(error.holder)} is training in this folder: wait until it has ended, or choose"
            " another"
        )
        raise ConfigError("out", str(folder), hint) from None
    finally:
        with contextlib.suppress(OSError):  # not empty
            for place in missing:
                place.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of killed runs, and checkpoints without state.json; only under the lock."""
    written = [folder, folder / "checkpoints", folder / "best", folder / "previews"]
    left = [
        place
        for parent in written
        if parent.is_dir()
        for place in parent.iterdir()
        if UNFINISHED.fullmatch(place.name)
    ]
    left += [place for place in (folder / "model").rglob("*") if UNFINISHED.fullmatch(place.name)]
    left += [*(folder / "checkpoints").glob(f".{ckpt.PREFIX}*.old"), *ckpt.incomplete(folder / "checkpoints")]
    for place in left:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
