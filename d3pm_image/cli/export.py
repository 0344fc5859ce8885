"""``d3pm-image export MODEL``: the networks as torch.export or ONNX graphs for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..config.running import OutputOptions
from ..outputs import folder_to_write, new_files
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Export(OutputOptions):
    """Write denoiser, encoder and decoder as graphs that other programs run, each checked against its network
    to 1e-4.

    Args:
        model: Model folder, run, name of a shipped model, or hub id.
        out: Folder to write; if it has graphs already, NAME-2 beside it, unless overwrite is given.
        form: pt2 (torch.export) or onnx (needs the extra onnx).

    Example:
        d3pm-image export fashion-mnist --form onnx
    """

    model: str
    out: str
    form: Literal["pt2", "onnx"] = "pt2"

    def __post_init__(self) -> None:
        folder_to_write(self.out)


def main(arguments: list[str]) -> None:
    """Parse and run."""
    run(
        parse(
            "export", Export, arguments, {"model": "Model folder, run, name of a shipped model, or hub id."}
        )
    )


def run(args: Export) -> None:
    """Write and check.

    Raises:
        ConfigError: no such model, ONNX without its packages, or a graph that differs from its network.
    """
    from ..export import PARTS, export
    from ..pipeline import Pipeline

    names = [*(f"{part}.{args.form}" for part in PARTS), "config.json"]
    pipe = Pipeline.from_pretrained(args.model)
    with new_files(
        Path(args.out).expanduser(), args.overwrite, lambda folder: [folder / name for name in names]
    ) as files:
        found = export(pipe, files.draft.parent, args.form)
    for part, path in zip(PARTS, files.paths, strict=False):
        print(
            f"{printable(path, 0)}:"
            f" {'share of codes that differ' if part == 'encoder' else 'largest difference'}"
            f" {found[part]:.2g}"
        )
