"""torch.compile: whether it can run here, where it keeps its results, and when it pays."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import sys
from typing import Any

import torch
from torch import nn

from .cache_folder import cache_root
from .errors import ConfigError

LONG = 1800.0
"""Seconds of training that are left, from which on compiling pays: a step took 0.70 to 0.81 of its time
compiled, and compiling up to 3 minutes (width 256, depth 6; 2 cores that had other work)."""


def compiler_there(device: torch.device) -> bool:
    """Whether a compiler for a device's code is installed: one of C++ for processors, Triton and one of C for
    NVIDIA GPUs."""
    if device.type == "cuda":
        triton = importlib.util.find_spec("triton") is not None
        return triton and bool(shutil.which(os.environ.get("CC", "cc")))
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return device.type == "cpu" and bool(shutil.which(os.environ.get("CXX", usual)))


def pays(seconds_a_step: float, steps: int) -> bool:
    """Whether so many steps that are left take long enough for compiling to save time."""
    return seconds_a_step * steps >= LONG


def compile_network(network: nn.Module, **options: Any) -> None:
    """Compile a network in place; ``options`` as torch.compile takes them. What was compiled once is kept in
    ``compiled`` of the cache folder, unless TORCHINDUCTOR_CACHE_DIR names another."""
    with contextlib.suppress(ConfigError):  # no home folder: torch keeps it among temporary files
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_root() / "compiled"))
    # without a GPU it would note the lack of one
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    network.compile(**options)


def uncompiled(compiled: bool) -> contextlib.AbstractContextManager[object]:
    """Calls inside run as they are: other shapes, or no gradients, would be compiled anew."""
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
