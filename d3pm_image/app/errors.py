"""Errors as sentences for the user, and one line in the terminal for the operator."""

from __future__ import annotations

import errno
import html
import sys
import traceback
from pathlib import Path

import gradio as gr

from ..config import ConfigError
from ..printable import printable
from ..system.failures import is_memory

MEMORY = "Too large for this machine's memory: ask for fewer images, or smaller ones."
FIELD = "A field of the page holds a value that it cannot take. Load the page again."
FULL = "The disk of the machine that runs this page is full. Its operator must free some space."


def words(error: ConfigError) -> str:
    """An error of the package as a sentence for the page: the field, the value where it is one word or
    number, and what to do. An error without a field is a sentence by itself."""
    name, hint = printable(error.name.replace("_", " ")), printable(" ".join(error.hint.split()), 500)
    if not name:
        return html.escape(f"{hint[:1].upper()}{hint[1:]}.")
    short = isinstance(error.value, str | int | float) and error.value != ""
    given = f" ({printable(error.value)})" if short else ""
    return html.escape(f"{name.capitalize()}{given}: {hint}.")


def failure(error: Exception) -> gr.Error:
    """A message box for whatever went wrong."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, ConfigError):
        return gr.Error(words(error), title="That does not work", duration=12, print_exception=False)
    if is_memory(error):
        return gr.Error(MEMORY, title="Out of memory", print_exception=False)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return gr.Error(FULL, title="No space", print_exception=False)
    kind = type(error).__name__
    # gradio's, for a value of another type
    if kind == "ComponentProcessingError" and "preprocess" in str(error):
        return gr.Error(FIELD, title="That does not work", print_exception=False)
    places = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    print(f"d3pm-image app: {kind}{where}: {printable(error, 500)}", file=sys.stderr, flush=True)
    text = (
        f"This did not work, and the fault is in the page ({kind}). Its terminal says more; load the page"
        " again to go on."
    )
    return gr.Error(html.escape(text), title="A fault", print_exception=False)
