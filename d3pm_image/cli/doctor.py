"""``d3pm-image doctor FOLDER``: what looks wrong with a run, a folder of images or shards, and what to do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from ..config import need
from ..config.data import implied_source
from ..printable import printable
from .options import OutputOptions, write_report
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Doctor(OutputOptions):
    """Say in plain words what looks wrong with a run (its settings, log, checkpoints and model), or with a folder of images or shards before training, and what to do. Reads only (of shards it keeps an index in the cache folder). Exit code 0: all is well; 1: something is wrong; 2: wrong input.

    Args:
        folder: Folder of a run, of images or of shards; or a pattern of shards.
        limit: Images of a folder to read, spread over it; 0 reads all.
        out: JSON file for the findings; empty prints them only.
    """

    folder: str
    limit: int = 5000
    out: str = ""

    def __post_init__(self):
        need(self.limit >= 0, "limit", self.limit, "give 0 (all images) or more")


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image doctor`` and run it. Raises ConfigError for wrong input."""
    if run(parse("doctor", Doctor, arguments, {"folder": "Folder of a run, of images or of shards; or a pattern of shards."})):
        sys.exit(1)


def run(args: Doctor) -> int:
    """Look, print and write; returns the number of things that are wrong.

    Raises:
        ConfigError: no such folder, or one that holds neither a run nor images.
    """
    from ..diagnostics import examine_images, examine_run, is_run

    folder = Path(args.folder).expanduser()
    shards = implied_source(args.folder) == "shards"
    need(shards or folder.is_dir(), "folder", args.folder, "no such folder; name a run's folder, a folder of images or shards")
    model = (folder / "model.safetensors").is_file() or (folder / "denoiser").is_dir()
    need(not model or is_run(folder), "folder", args.folder, "is a model; name the run that trained it")
    kind = "run" if is_run(folder) else "images"
    found = examine_run(folder) if kind == "run" else examine_images(str(folder), args.limit)
    place = printable(folder, 0)
    wrong = [f for f in found if f.wrong]
    for finding in found:
        if finding.name == "read":
            print(printable(finding.text, 0))
    for finding in [*wrong, *(f for f in found if not f.wrong and f.name != "read")]:
        mend = f"\n       {printable(finding.mend, 0)}" if finding.mend else ""
        print(f"{'wrong' if finding.wrong else 'note'}: {printable(finding.text, 0)}{mend}")
    ending = f"{len(wrong)} thing{'s' if len(wrong) != 1 else ''} wrong with" if wrong else "all is well with"
    print(f"{ending} {place}")
    if args.out:
        facts = {"folder": place, "kind": kind, "findings": [asdict(f) for f in found]}
        write_report(args.out, args.overwrite, json.dumps(facts, indent=1), "findings")
    return len(wrong)
