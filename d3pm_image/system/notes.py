"""Python's warnings as plain lines: users of commands need the text, not the file and line of the code."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from ..printable import printable


def show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """One line to standard error; the arguments are those of ``warnings.showwarning``."""
    with contextlib.suppress(OSError, ValueError):  # the output is closed
        out = file or sys.stderr
        # in one piece: threads and processes warn at once
        out.write(f"note: {printable(' '.join(str(message).split()), 500)}\n")
        out.flush()


@contextlib.contextmanager
def warnings_in_words() -> Iterator[None]:
    """Print warnings by :func:`show` for the length of a block; loader processes inherit it. Advice to
    programmers is not shown."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", kind)
        warnings.showwarning = show
        yield
