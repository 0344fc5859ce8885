"""Starting the page: on this machine alone by default, without a word to anybody else, with its files in a folder that goes with it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..config import ConfigError
from ..pipeline import Pipeline

QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_RUN_HISTORY": "False"}
LARGEST = "100mb"  # of a picture that is handed in


def check_installed() -> None:
    """Raises ConfigError where the page's library is not there."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ConfigError("app", "gradio", 'is not installed; install the extra: pip install "d3pm-image[app]"')


def start(pipe: Pipeline, model: str, host: str, port: int, folder: Path, wait: bool = True) -> tuple[Any, str]:
    """Serve the page.

    Args:
        pipe, model: The model and its name.
        host: Address to listen at; 127.0.0.1 is this machine alone.
        port: 0 takes any that is free.
        folder: For pictures handed in and results; an existing one, emptied by whoever made it.
        wait: Stay until it is stopped.

    Returns:
        The page and its address.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    check_installed()
    os.environ.update(QUIET | {"GRADIO_TEMP_DIR": str(folder)})  # read when gradio is imported
    from .page import build
    from .studio import Studio
    from .theme import CSS, theme

    page = build(Studio(pipe, model, folder)).queue(max_size=64)
    try:
        _, address, _ = page.launch(
            server_name=host, server_port=port or None, share=False, quiet=True, prevent_thread_lock=True, inbrowser=False, ssr_mode=False,
            footer_links=[], max_file_size=LARGEST, theme=theme(), css=CSS, pwa=False, mcp_server=False, enable_monitoring=False, run_history=False,
            show_error=False,
        )  # fmt: skip
    except OSError as error:
        raise ConfigError("port", port, f"cannot be listened at ({error}); choose another, or 0 for any free one") from None
    if wait:
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        page.block_thread()
    return page, address


def serve(pipe: Pipeline, model: str, host: str, port: int) -> None:
    """Serve until stopped; what was handed in and made is removed then."""
    with tempfile.TemporaryDirectory(prefix="d3pm-image-app-", ignore_cleanup_errors=True) as folder:
        start(pipe, model, host, port, Path(folder))
