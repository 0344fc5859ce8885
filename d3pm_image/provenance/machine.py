"""The machine and code of a computation: processor, versions, and the source code itself."""

from __future__ import annotations

import hashlib
import os
import platform
from functools import cache
from pathlib import Path


def machine() -> dict[str, str | int]:
    """Processor, threads, GPU and versions, on which speed and the last digits of results depend."""
    import torch

    lines = (
        Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if os.path.exists("/proc/cpuinfo")
        else []
    )
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


@cache
def code() -> dict[str, str]:
    """Version of this package, and a hash of its source files, because a checkout may differ from its
    version."""
    from .. import __version__

    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return {"version": __version__, "source_sha256": digest.hexdigest()}
