"""The C library's allocator, told to keep what it has.

glibc asks the system for every block above 32 MiB anew and hands it back when a tensor dies: each step of a
sampler then pays for fresh, zeroed pages. Kept, the pages are used again; the price is that memory once used
stays with the process until it ends.
"""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # mallopt(3)
CHOICES = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_MMAP_MAX_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
)


def keep_memory() -> bool:
    """Let this process keep freed memory. False, and nothing done, without glibc or where the environment has
    chosen for itself."""
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in CHOICES):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
