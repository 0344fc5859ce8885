"""``d3pm-image doctor FOLDER``: find problems in a run, a folder of images or shards, and say how to fix
them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import check
from ..config.running import OutputOptions
from ..outputs import write_report
from ..parser import parse
from ..printable import printable


@dataclass(frozen=True, kw_only=True)
class Doctor(OutputOptions):
    """Find problems in a run (its settings, log, checkpoints and model), or with a
    folder of images or shards before training, and what to do. Reads only (of shards it keeps an index in the
    cache folder). Exit code 0: no problems found; 1: problems found; 2: wrong input.

    Args:
        folder: Folder of a run, of images or of shards; or a pattern of shards.
        limit: Images of a folder to read, spread over it; 0 reads all.
        out: JSON file for the findings; empty only prints them.

    Example:
        d3pm-image doctor photos
    """

    folder: str
    limit: int = 5000
    out: str = ""

    def __post_init__(self) -> None:
        check(self.limit >= 0, "limit", self.limit, "give 0 (all images) or more")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image doctor`` and run it. Raises ConfigError for wrong input."""
    if run(
        parse(
            "doctor",
            Doctor,
            arguments,
            {"folder": "Folder of a run, of images or of shards; or a pattern of shards."},
        )
    ):
        sys.exit(1)


def run(args: Doctor) -> int:
    """Check, print and write; returns the number of problems.

    Raises:
        ConfigError: no such folder, or one that holds neither a run nor images.
    """
    from ..diagnostics import examine, listed

    kind, found = examine(args.folder, args.limit)
    place, wrong = printable(Path(args.folder).expanduser(), 0), sum(finding.wrong for finding in found)
    print(
        "\n".join(
            [
                *listed(found),
                (
                    f"{wrong} problem{'s' * (wrong != 1)} found in {place}"
                    if wrong
                    else f"no problems found in {place}"
                ),
            ]
        )
    )
    if args.out:
        metadata = {"folder": place, "kind": kind, "findings": [asdict(f) for f in found]}
        write_report(args.out, args.overwrite, json.dumps(metadata, indent=1), "findings")
    return wrong
