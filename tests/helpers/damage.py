"""Files that are spoilt: cut, flipped, replaced by a pipe, or hostile."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


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


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


def other_tensors(**changes):
    def damage(path: Path) -> None:
        tensors = load_file(path)
        for name, change in changes.items():
            tensors[name] = change(tensors[name])
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            about = file.metadata()
        save_file(tensors, path, {"key": about["key"]})  # as a version without checksums wrote it

    return damage


def without(name: str):
    def damage(path: Path) -> None:
        tensors = load_file(path)
        del tensors[name]
        save_file(tensors, path)

    return damage


def number(name: str, value: float):
    return other_tensors(**{name: lambda t: t.index_fill(0, torch.tensor([0]), value)})


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "nonsense": lambda path: path.write_bytes(b"nonsense"),
    "nothing": lambda path: path.write_bytes(b""),
    "an archive": lambda path: path.write_bytes(archive()),
    "JSON": lambda path: path.write_text("{}"),
    "a header without end": lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{"),
    "a flipped byte": flip_a_bit,
    "a pipe": fifo,
    "no features": without("features"),
    "no labels": without("labels"),
    "no sum": without("sum"),
    "features of another width": other_tensors(features=lambda t: t[:, :3].clone()),
    "features of fewer images": other_tensors(features=lambda t: t[:3].clone()),
    "features without a side": other_tensors(features=lambda t: t.flatten()),
    "features that are one number": other_tensors(features=lambda t: t[0, 0].clone()),
    "whole-number features": other_tensors(features=lambda t: t.long()),
    "half features": other_tensors(features=lambda t: t.half()),
    "labels of another length": other_tensors(labels=lambda t: t[:3].clone()),
    "labels that are fractions": other_tensors(labels=lambda t: t.float()),
    "a count of two numbers": other_tensors(count=lambda t: torch.tensor([40, 40])),
    "a count that is a fraction": other_tensors(count=lambda t: t.float()),
    "another count": other_tensors(count=lambda t: t + 1),
    "products that are not square": other_tensors(products=lambda t: t[:3].clone()),
    "an origin of another width": other_tensors(origin=lambda t: t[:3].clone()),
    "not a number": number("features", float("nan")),
    "infinite sums": number("sum", float("inf")),
    "infinite products": number("products", float("-inf")),
}
