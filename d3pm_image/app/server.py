"""Starting the page: on this machine only by default, without any other network access, with its files in a
temporary folder."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..config import ConfigError
from ..pipeline import Pipeline
from ..system.stopping import Stopped
from .quota import Limits

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",  # of its statistics of requests, which are not used …
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",  # … and which it would compute again at each
}
SWEEP_S = 60


def check_installed() -> None:
    """Raises ConfigError if the page's library is not installed."""
    from importlib.util import find_spec

    if find_spec("gradio") is None:
        raise ConfigError(
            "app", "gradio", 'is not installed; install the extra: pip install "d3pm-image[app]"'
        )


def start(
    pipe: Pipeline, model: str, host: str, port: int, folder: Path, wait: bool = True
) -> tuple[Any, str]:
    """Serve the page.

    Args:
        pipe, model: The model and its name.
        host: Address to listen at; 127.0.0.1 is this machine alone.
        port: 0 takes any free one.
        folder: For uploads and results; an existing one, which the caller removes.
        wait: Return only when it is stopped.

    Returns:
        The page and its address.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    check_installed()
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]  # such as further folders to give files out of
    os.environ.update(QUIET | {"GRADIO_TEMP_DIR": str(folder)})  # read when gradio is imported
    from .guard import SESSIONS, Server
    from .page import build
    from .page_model import PageModel
    from .theme import CSS, SCRIPT, theme

    limits = Limits()
    page = build(PageModel(pipe, model, folder)).queue(max_size=64, api_open=False)
    try:
        _, address, _ = page.launch(
            server_name=f"[{host}]" if ":" in host.strip("[]") else host, server_port=port or None,
            share=False, quiet=True,
            prevent_thread_lock=True, inbrowser=False, ssr_mode=False, footer_links=[],
            max_file_size=limits.file, theme=theme(), css=CSS, js=SCRIPT,
            pwa=False, mcp_server=False, enable_monitoring=False, run_history=False, show_error=False,
            state_session_capacity=SESSIONS,
            _app=Server(page, host, limits),
        )  # fmt: skip
    except OSError as error:
        raise ConfigError(
            "port", port, f"cannot be listened at ({error}); choose another, or 0 for any free one"
        ) from None
    page.server.config.timeout_graceful_shutdown = 1  # seconds; open pages hold connections that never end
    threading.Thread(target=tidy, args=(page,), daemon=True).start()
    if wait:
        print(f"The page is at {address} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()
    return page, address


def tidy(page: Any) -> None:
    """Remove old files while the page runs."""
    from .folder import sweep

    ended = threading.Event()
    while page.is_running:
        sweep(page.folder, page.temp_file_sets)
        ended.wait(SWEEP_S)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into the end of a block, with one line; one that is ignored, as under
    nohup, stays so."""
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before: dict[int, Any] = {}

    def end(number: int, frame: Any) -> None:
        for other in before:
            signal.signal(other, signal.SIG_IGN)  # a second one must not stop the clean-up
        raise Stopped(signal.Signals(number).name)

    with suppress(ValueError):  # not in the main thread: signals are handled elsewhere
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    except Stopped as error:
        print(f"The page has ended ({error}); its files are removed.", flush=True)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def serve(pipe: Pipeline, model: str, host: str, port: int) -> None:
    """Serve until stopped; uploads and results are removed then, also after SIGTERM and SIGHUP."""
    check_installed()
    from .folder import page_folder

    with ended_by_signals(), page_folder() as folder:
        start(pipe, model, host, port, folder)
    # at once: a decode may still run in a thread of its own, and torch aborts where the interpreter ends
    # under it
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
