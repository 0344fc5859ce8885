"""``python -m benchmarks.speed NAME [--repeats 5] [--json FILE]``, NAME one of the modules beside this one.

Every benchmark prints one table: medians over repeats that take turns, so that ratios come from the same
minutes of the same machine."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from d3pm_image.provenance.machine import machine

NAMES = sorted({p.stem for p in Path(__file__).parent.glob("*.py")} - {"__init__", "__main__", "timing"})


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--repeats", type=int, default=5, help="measurements per entry; the median counts")
    parser.add_argument("--json", default="", help="also write the results to this file")
    known, rest = parser.parse_known_args()
    benchmark = importlib.import_module(f"{__package__}.{known.name}")
    on = machine()
    print(" · ".join(f"{k} {v}" for k, v in on.items()))
    results = {
        "benchmark": known.name,
        "machine": on,
        "repeats": known.repeats,
        "rows": benchmark.run(known.repeats, rest),
    }
    if known.json:
        Path(known.json).parent.mkdir(parents=True, exist_ok=True)
        Path(known.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
