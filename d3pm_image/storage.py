"""Files that are complete or absent: written beside their place, synced to disk, then renamed. Nothing is pickled."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that readers see the old or the new content, never a part."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def half_precision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """float32 tensors as float16, half the bytes; those with values beyond its range stay as they are."""
    import torch

    most = torch.finfo(torch.float16).max
    return {n: t.half() if t.dtype == torch.float32 and bool((t.abs() <= most).all()) else t for n, t in tensors.items()}


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, atomically. Shared or strided tensors are written as plain copies.

    Raises:
        OSError: the disk is full, or the folder cannot be written; an older file stays as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, part, metadata=metadata)
        sync(part)
        os.replace(part, path)
    except SafetensorError as error:  # a full disk, say; the library has an error of its own for it
        raise OSError(f"{path} cannot be written ({error})") from error
    finally:
        part.unlink(missing_ok=True)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, from its header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no mapping)


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
