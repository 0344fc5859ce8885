"""What a run leaves to look at: log.jsonl, pictures, and TensorBoard where it is installed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from PIL import Image


class Monitor:
    """Writes scalars and pictures of the main process; does nothing on the others.

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
        lines = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= first_step:
                    lines.append(line)
            except (ValueError, KeyError):  # the half line of a killed run
                continue
        part = self.log.with_name(f".log.{os.getpid()}.part")
        part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(part, self.log)

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

    def picture(self, step: int, name: str, image: Image.Image) -> None:
        """Save a preview as ``previews/<name>-<step>.png``."""
        if not self.enabled:
            return
        image.save(self.folder / "previews" / f"{name}-{step:08d}.png")
        if self.board is not None:
            import numpy as np

            self.board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Finish the logs."""
        if self.board is not None:
            self.board.close()
