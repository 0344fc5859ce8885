"""The images and figures of docs/tutorial.md, out of a finished scripts/tutorial.sh.

    python scripts/tutorial_page.py images

Writes docs/tutorial/NAME.jpg and docs/results/tutorial.json, from which scripts.results writes the page's
tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ("reconstruction", "samples", "inpainted", "outpainted", "varied")


def main(folder: Path) -> None:
    page = ROOT / "docs" / "tutorial"
    page.mkdir(exist_ok=True)
    for name in IMAGES:
        Image.open(folder / f"{name}.png").convert("RGB").save(page / f"{name}.jpg", quality=88)
    commands: dict[str, tuple[str, float]] = {}
    for line in (folder / "seconds.txt").read_text(encoding="utf-8").splitlines():
        number, name, seconds = line.split()
        commands[number] = (name, float(seconds))  # of a script that was stopped and went on, the last
    steps: dict[str, float] = {}
    for name, seconds in commands.values():
        steps[name] = steps.get(name, 0) + seconds
    for name, run in (("train-tokenizer", "tokenizer"), ("train-diffusion", "diffusion")):
        log = folder.parent / "runs" / "photos" / run / "log.jsonl"
        steps[name] = round(trained(log))  # what went before a stop, too
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    kept = {"seconds": steps, "evaluation": evaluation}
    out = ROOT / "docs" / "results" / "tutorial.json"
    out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def trained(log: Path) -> float:
    """Seconds of training in a run's log, over all its stops."""
    lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return [line["seconds"] for line in lines if "seconds" in line][-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
