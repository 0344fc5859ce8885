"""Tensors that take long to compute, kept in a file: made once by one program, checked when read, and made
again if the file is damaged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .locks import waiting_lock
from .storage import tensors_sha256, write_tensors

if TYPE_CHECKING:
    from torch import Tensor


def cached_tensors(
    place: Path,
    key: str,
    sound: Callable[[dict[str, Tensor]], bool],
    make: Callable[[], dict[str, Tensor]],
    what: str,
) -> dict[str, Tensor]:
    """The tensors of a file, or new ones, which are written there. Of several programs that want the same,
    one makes them.

    Args:
        place: safetensors file, named by what it depends on.
        key: All inputs of the tensors, stored with them.
        sound: Whether tensors have the names, shapes and dtypes that they must have; that they are finite is
            checked here.
        make: Computes them.
        what: What they are, for messages.

    Raises:
        OSError: a file that is there but may not be read, or a folder that cannot be written.
    """
    found = read(place, key, sound)
    if found is not None:
        return found
    place.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(place.with_name(f".{place.name}.lock"), f"{what} {place}"):
        found = read(place, key, sound)  # the previous holder of the lock may have made it
        if found is None:
            if place.exists():
                print(f"{what} {place} is damaged: computing it again", file=sys.stderr)
            found = make()
            write_tensors(place, found, {"key": key, "sha256": tensors_sha256(found)})
    return found


def read(place: Path, key: str, sound: Callable[[dict[str, Tensor]], bool]) -> dict[str, Tensor] | None:
    """The tensors of a file; None if it is missing, damaged, or of another key.

    Raises:
        OSError: it may not be read.
    """
    from safetensors import SafetensorError, safe_open

    if not place.is_file():  # a pipe would be waited for
        return None
    with open(place, "rb"):
        pass  # safetensors reports an unreadable file as missing
    try:
        with safe_open(place, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("key", key) != key:
                return None
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        finite = all(bool(value.isfinite().all()) for value in found.values())
        same = "sha256" not in about or about["sha256"] == tensors_sha256(found)
        return found if finite and same and sound(found) else None
    except (
        SafetensorError,
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
        OverflowError,
    ):
        return None
