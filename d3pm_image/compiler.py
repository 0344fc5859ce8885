"""torch.compile: whether it can run here, where it keeps its results, and when it saves time."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import platform
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .cache_folder import cache_root
from .errors import ConfigError

LONG = 1800.0
"""Remaining seconds of training from which compiling saves time: a step took 0.70 to 0.81 of its time
compiled, and compiling up to 3 minutes (width 256, depth 6; 2 cores that had other work)."""


def compiler_works(device: torch.device) -> bool:
    """Whether a compiler for a device's code is installed (one of C++ for processors; Triton, and one of C,
    for NVIDIA GPUs) and compiles a small function. Takes seconds."""
    if device.type == "cuda":
        there = importlib.util.find_spec("triton") is not None and shutil.which(os.environ.get("CC", "cc"))
    else:
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        there = device.type == "cpu" and shutil.which(os.environ.get("CXX", usual))
    if not there:
        return False
    _prepare()
    try:
        torch.compile(lambda x: (2 * x + 1).sin())(torch.ones(8, device=device))
    except Exception as error:  # no headers, no rights, a compiler of another kind: whatever stops it
        print(f"note: not compiled: {type(error).__name__}", file=sys.stderr)
        return False
    return True


def pays(seconds_a_step: float, steps: int) -> bool:
    """Whether the remaining steps take long enough for compiling to save time."""
    return seconds_a_step * steps >= LONG


def compile_network(network: nn.Module, **options: Any) -> None:
    """Compile a network in place; ``options`` as torch.compile takes them. Compiled code is kept in
    ``compiled`` of the cache folder, separately for every kind of processor, unless TORCHINDUCTOR_CACHE_DIR
    names another folder."""
    _prepare()
    network.compile(**options)


def _prepare() -> None:
    with contextlib.suppress(ConfigError):  # no home folder: torch keeps it among temporary files
        place = cache_root() / "compiled" / _processor()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(place))
    # without a GPU it would note the lack of one
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


@cache
def _processor() -> str:
    """Name of this kind of processor: code is compiled for its instructions, and home folders are shared."""
    lines = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        about = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        lines += sorted({line for line in about if line.startswith(("model name", "flags", "Features"))})
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def uncompiled(compiled: bool) -> contextlib.AbstractContextManager[object]:
    """Calls inside run uncompiled, because other shapes, or no gradients, would be compiled again."""
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
