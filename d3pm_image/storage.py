"""Files that are complete or absent: written beside their place, synced to disk, then renamed. Nothing is
pickled."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .locks import file_lock, locked_folder

if TYPE_CHECKING:
    from torch import Tensor


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(*groups: Mapping[str, Tensor], form: str = "{name} {shape} {dtype}") -> str:
    """SHA-256 of names, shapes, dtypes and values of tensors, the same on every device.

    Args:
        groups: Tensors by name, each group in the order of its names.
        form: Header before the bytes of a tensor; existing files have hashes of this form.
    """
    import torch

    digest = hashlib.sha256()
    for group in groups:
        for name, value in sorted(group.items()):
            digest.update(form.format(name=name, shape=tuple(value.shape), dtype=value.dtype).encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flush a file to disk, or a folder if the system can do that."""
    folder = path.is_dir()
    try:
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes writable handles only
    except PermissionError:
        if folder:  # Windows opens no folders; it keeps names without being asked
            return
        handle = os.open(path, os.O_RDONLY)  # one's own file under a umask that takes the right to write
    try:
        os.fsync(handle)
    except OSError as error:
        if not folder or error.errno not in (errno.EBADF, errno.EINVAL, errno.EACCES, errno.ENOTSUP):
            raise  # some file systems flush no folders
    finally:
        os.close(handle)


RESERVED = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE | re.DOTALL
)
"""Names that are devices on Windows, with any ending."""
LONGEST_NAME = 255  # bytes: of ext4, xfs, btrfs, APFS; NTFS counts UTF-16 units, which are never more


def safe_name(text: str, ending: str = "") -> str:
    """A text as the name of a file that every system can store: no separators, no characters or device names
    that Windows refuses, not hidden, and no longer than a name may be.

    Args:
        text: What the file is named after, such as a class or an image.
        ending: Kept as it is, such as ``.png``.
    """
    kept = "".join("_" if c in '<>:"/\\|?*' or unicodedata.category(c)[0] == "C" else c for c in text).strip(
        " ."
    )
    kept = f"_{kept}" if not kept or RESERVED.fullmatch(kept + ending) else kept
    length = LONGEST_NAME - len(ending.encode()) - 20  # for a number, and for the names of unfinished files
    return kept.encode()[:length].decode(errors="ignore").rstrip(" .") + ending


def part_path(path: Path) -> Path:
    """Path at which a file is written before it is renamed to ``path``: hidden, beside it, different for
    every process.

    Raises:
        OSError: a name that stands for a device on Windows, there.
    """
    if os.name == "nt" and RESERVED.fullmatch(path.name):
        raise OSError(errno.EINVAL, "the name of a device on Windows; choose another name", str(path))
    name = f".{path.name}.{os.getpid()}.part"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:32]}.{os.getpid()}.part"
    return path.with_name(name)


@contextmanager
def whole_file(path: Path, synced: bool = False) -> Iterator[Path]:
    """A path beside ``path`` to write to, which is renamed to ``path`` at the end, so that the file is
    complete or absent.

    Args:
        synced: Flush it to disk first, for files that must survive a power cut, such as weights. Folders are
            not made then.
    """
    if not synced:
        path.parent.mkdir(parents=True, exist_ok=True)
    part = part_path(path)
    try:
        yield part
        if synced:
            sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that readers see the old or the new content, never a part."""
    with whole_file(path, synced=True) as part:
        part.write_text(text, encoding="utf-8")


def half_precision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """float32 tensors as float16, half the bytes; those with values beyond its range stay as they are."""
    import torch

    most = torch.finfo(torch.float16).max
    return {
        n: t.half() if t.dtype == torch.float32 and bool((t.abs() <= most).all()) else t
        for n, t in tensors.items()
    }


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically. Shared or strided tensors are written as plain copies.

    Raises:
        OSError: the disk is full, or the folder cannot be written; an older file stays as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole_file(path, synced=True) as part:
        part.touch()
        # permissions of umask and folder; safetensors makes files for their owner only
        mode = stat.S_IMODE(part.stat().st_mode)
        try:
            save_file(
                {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},
                part,
                metadata=metadata,
            )
        except SafetensorError as error:  # such as a full disk; the library has its own error
            raise OSError(f"{path} cannot be written ({error})") from error
        part.chmod(mode)


def tensor_outlines(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Names, shapes and dtypes (as safetensors calls them, such as F32) of the tensors in a safetensors file,
    from its header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in parts.items()}


def replace_folder(part: Path, place: Path) -> None:
    """Put a finished folder in its place; an older one there is moved away first and then removed."""
    for file in part.rglob("*"):
        sync(file)
    sync(part)
    old = place.with_name(f".{place.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    moved = place.exists()
    if moved:
        os.replace(place, old)
    try:
        os.replace(part, place)
    except OSError:
        if moved:
            os.replace(old, place)
        raise
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def files_together(place: Path, last: str = "config.json") -> Iterator[Path]:
    """A hidden folder inside ``place`` to write a group of files to; at the end they are moved to ``place``,
    all of them or none.

    Other files there stay, and ``place`` may be a link to a folder. Readers look for ``last`` first: it is
    removed before anything else is replaced and written at the end, so that a folder that a dying process
    leaves is recognised as incomplete.

    Args:
        place: Folder, made if it is not there.
        last: The file that describes the folder.

    Raises:
        OSError: a file cannot be written or moved; ``place`` is as it was.
    """
    place.mkdir(parents=True, exist_ok=True)
    remove_left_overs(place)
    with ExitStack() as held:
        part = locked_folder(held, LOCK, prefix=".new-", suffix=".part", dir=place)
        try:
            yield part
            move_together(part, place, last)
        finally:
            shutil.rmtree(part, ignore_errors=True)


LOCK = ".lock"
"""Lock that is held while files are written: left-overs of dead processes are not locked."""


def remove_left_overs(place: Path) -> None:
    """Remove left-overs of :func:`files_together` from killed processes."""
    for left in place.glob(".new-*.part"):
        with suppress(OSError), file_lock(left / LOCK):  # else somebody is writing there
            shutil.rmtree(left, ignore_errors=True)


def move_together(part: Path, place: Path, last: str) -> None:
    """Move the files of a folder into another one, ``last`` at the end; what an error interrupts is
    undone."""
    files = [
        file.relative_to(part) for file in sorted(part.rglob("*")) if file.is_file() and file.name != LOCK
    ]
    files.sort(key=lambda name: name == Path(last))
    for name in files:
        sync(part / name)
    before = part / "before"
    for folder in {name.parent for name in files}:
        (place / folder).mkdir(parents=True, exist_ok=True)
        (before / folder).mkdir(parents=True, exist_ok=True)
    done: list[tuple[Path, Path]] = []

    def move(source: Path, target: Path) -> None:
        os.replace(source, target)
        done.append((source, target))

    try:
        # the last one first; a single file is replaced in one step
        for name in reversed(files) if len(files) > 1 else ():
            if (place / name).is_file() or (place / name).is_symlink():
                move(place / name, before / name)
                sync((place / name).parent)
        for name in files:
            move(part / name, place / name)
    except BaseException:
        for source, target in reversed(done):
            os.replace(target, source)
        raise
    for folder in {place, *(place / name.parent for name in files)}:
        sync(folder)
