"""Settings of the C library's allocator, so that it keeps freed memory.

glibc requests every block above 32 MiB from the system and returns it when a tensor is freed, so each step of
a sampler waits for new, zeroed pages. With memory kept, the pages are used again; the process then keeps its
memory until it ends.
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
    """Let this process keep freed memory. False, without effect, without glibc or if environment variables
    configure the allocator."""
    if platform.libc_ver()[0] != "glibc" or any(os.environ.get(name) for name in CHOICES):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))
