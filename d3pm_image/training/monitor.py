"""Logs of a run: log.jsonl, previews, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from ..config import check
from ..former_names import present_names
from ..storage import whole_file
from . import notebook

LONGEST_LINE = 1_000_000
"""Largest length of a log line in bytes; a longer one is not from this program."""


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Lines of a ``log.jsonl``, one at a time: the text (of one that is too long its end), and the numbers,
    or None where it is not a line of a log: a half one of a run that was killed, another JSON value, bytes
    that are no text, a line without an end. Nothing where there is no file."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        while text := file.readline(LONGEST_LINE):
            rest = text
            while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):  # a line that is too long
                rest = file.readline(LONGEST_LINE)
            yield rest, parsed(text) if rest is text else None


def parsed(text: bytes) -> dict[str, Any] | None:
    """A line of the log: a JSON object whose step is a whole number."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    step = line.get("step") if isinstance(line, dict) else None
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        return None
    return present_names(line)


class Monitor:
    """Writes scalars and images of the main process; does nothing on the others.

    Args:
        folder: Run folder; gets ``log.jsonl``, ``previews/`` and ``tensorboard/``.
        enabled: True on the process that writes.
        first_step: A resumed run drops log lines from this step on, so that no step appears twice.
    """

    def __init__(self, folder: Path, enabled: bool, first_step: int = 0):
        self.folder, self.enabled, self.board = folder, enabled, None
        self.log = folder / "log.jsonl"
        if not enabled:
            return
        hint = "is not a regular file; move it away"
        check(self.log.is_file() or not self.log.exists(), "out", str(self.log), hint)
        (folder / "previews").mkdir(parents=True, exist_ok=True)
        self._rewind(first_step)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # TensorBoard is an extra
            return
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def _rewind(self, first_step: int) -> None:
        if not self.log.exists():
            return
        dropped = 0
        with whole_file(self.log) as part, open(part, "wb") as file:
            for text, line in read_lines(self.log):
                dropped += line is None
                if line is not None and line["step"] <= first_step:
                    file.write(text.rstrip(b"\r\n") + b"\n")
        if dropped:
            print(
                f"{self.log}: {dropped} line{'s' if dropped > 1 else ''} that cannot be read left out",
                file=sys.stderr,
            )

    def scalars(self, step: int, values: dict[str, Any]) -> None:
        """Append one line of numbers for a step (counted from 1)."""
        if not self.enabled:
            return
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        if self.board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self.board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: Image.Image) -> None:
        """Save a preview as ``previews/<name>-<step>.png``."""
        if not self.enabled:
            return
        image.save(self.folder / "previews" / f"{name}-{step:08d}.png")
        notebook.show(image, f"{self.folder.resolve()}/{name}")
        if self.board is not None:
            import numpy as np

            self.board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Finish the logs."""
        if self.board is not None:
            self.board.close()
