"""Previews in a notebook: shown where IPython runs the program, which is not needed for anything."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from PIL import Image

_shown: set[str] = set()


def shell() -> Any:
    """The IPython shell that runs this program, or None. Nothing is imported that is not there already."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def is_running() -> bool:
    """Whether a notebook, or another program of IPython, runs this one."""
    return shell() is not None


def show(image: Image.Image, name: str) -> None:
    """Display an image in a notebook, in the place of the one that was displayed under this name before;
    elsewhere nothing happens."""
    if not is_running():
        return
    with contextlib.suppress(ImportError):
        from IPython.display import display, update_display

        cell = f"{name} {getattr(shell(), 'execution_count', 0)}"
        (update_display if cell in _shown else display)(image, display_id=cell)
        _shown.add(cell)
