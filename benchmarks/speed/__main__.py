#!/usr/bin/env python
"""Benchmarks: ``python scripts/benchmark.py NAME [--repeats 5] [--json FILE]``, NAME one of the files in scripts/benchmarks.

Every benchmark prints one table: medians over repeats that take turns, so that ratios come from the same minutes of the same machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = sorted(p.stem for p in (HERE / "benchmarks").glob("*.py") if p.stem not in ("__init__", "measure"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each entry; the median counts")
    parser.add_argument("--json", default="", help="also write the figures to this file")
    known, rest = parser.parse_known_args()
    sys.path.insert(0, str(HERE))
    bench = importlib.import_module(f"benchmarks.{known.name}")
    from d3pm_image.provenance.machine import machine

    facts = machine()
    print(" · ".join(f"{k} {v}" for k, v in facts.items()))
    rows = bench.run(known.repeats, rest)
    if known.json:
        Path(known.json).parent.mkdir(parents=True, exist_ok=True)
        Path(known.json).write_text(
            json.dumps({"benchmark": known.name, "machine": facts, "repeats": known.repeats, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
