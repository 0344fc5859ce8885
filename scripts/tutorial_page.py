"""The pictures and figures of docs/tutorial.md, out of a finished scripts/tutorial.sh: python scripts/tutorial_page.py pictures

Writes docs/tutorial/NAME.jpg and docs/results/tutorial.json, from which scripts/results.py writes the page's tables.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("reconstruction", "samples", "inpainted", "outpainted", "varied")


def main(folder: Path) -> None:
    page = ROOT / "docs" / "tutorial"
    page.mkdir(exist_ok=True)
    for name in PICTURES:
        Image.open(folder / f"{name}.png").convert("RGB").save(page / f"{name}.jpg", quality=88)
    commands: dict[str, tuple[str, float]] = {}
    for line in (folder / "seconds.txt").read_text(encoding="utf-8").splitlines():
        number, name, seconds = line.split()
        commands[number] = (name, float(seconds))  # of a script that was stopped and went on, the last
    steps: dict[str, float] = {}
    for name, seconds in commands.values():
        steps[name] = steps.get(name, 0) + seconds
    for name, run in (("train-tokenizer", "tokenizer"), ("train-diffusion", "diffusion")):
        steps[name] = round(trained(folder.parent / "runs" / "photos" / run / "log.jsonl"))  # what went before a stop, too
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    kept = {"seconds": steps, "evaluation": evaluation}
    (ROOT / "docs" / "results" / "tutorial.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def trained(log: Path) -> float:
    """Seconds of training in a run's log, over all its stops."""
    return [line["seconds"] for line in map(json.loads, log.read_text(encoding="utf-8").splitlines()) if "seconds" in line][-1]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
