"""``d3pm-image export MODEL``: the networks as torch.export or ONNX graphs for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..config import need
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write denoiser, encoder and decoder as graphs that other programs run, each checked against its network to 1e-4.

    Args:
        model: Model folder, run, name of a shipped model, or hub id.
        out: Folder to write.
        form: pt2 (torch.export) or onnx (needs the extra onnx).
    """

    model: str
    out: str
    form: Literal["pt2", "onnx"] = "pt2"

    def __post_init__(self):
        need(bool(self.out), "out", self.out, "name a folder")
        need(not Path(self.out).is_file(), "out", self.out, "is a file; name a folder")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    run(parse("export", Export, arguments, {"model": "Model folder, run, name of a shipped model, or hub id."}))


def run(args: Export) -> None:
    """Write and check.

    Raises:
        ConfigError: no such model, ONNX without its packages, or a graph that differs from its network.
    """
    from ..export import export
    from ..pipeline import Pipeline

    found = export(Pipeline.from_pretrained(args.model), args.out, args.form)
    for name, value in found.items():
        print(
            f"{Path(args.out) / name}.{args.form}: {'share of codes that differ' if name == 'encoder' else 'largest difference'} {value:.2g}"
        )
