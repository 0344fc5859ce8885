"""Files that are spoilt: cut, flipped, replaced by a pipe, or hostile."""

from __future__ import annotations

import os
from pathlib import Path


def truncate(path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


class Payload:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


EVIL = "\x1b[2J\x9b\u202e\nwarning: all is well <img src=x onerror=alert(1)> ](javascript:x) `x` ``` | # _a_"
UNSAFE = set("\x1b\x9b\u202e\x07\udcfc")


def breaks(*args, **kwargs):
    raise OSError("disk full")
