"""Previews in a notebook: shown if IPython runs the program; IPython is optional."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from PIL import Image

_shown: set[str] = set()


def shell() -> Any:
    """The IPython shell that runs this program, or None. Imports nothing."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def is_running() -> bool:
    """Whether a notebook, or another program of IPython, runs this one."""
    return shell() is not None


def show(image: Image.Image, name: str) -> None:
    """Display an image in a notebook, in place of the earlier one of this name; does nothing elsewhere."""
    if not is_running():
        return
    with contextlib.suppress(ImportError):
        from IPython.display import display, update_display

        cell = f"{name} {getattr(shell(), 'execution_count', 0)}"
        (update_display if cell in _shown else display)(image, display_id=cell)
        _shown.add(cell)
