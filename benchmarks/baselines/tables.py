"""Tables of docs/baselines.md out of the figures; scripts/results.py takes them from here. No torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .entries import ENTRIES, SHARES

FIGURES = Path(__file__).resolve().parent.parent.parent / "docs" / "results" / "fashion_mnist_baselines.json"
NONE = "No figures yet: the command above makes them.\n"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table; the first column is text, all others are figures."""
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---", *["---:"] * (len(header) - 1)], *rows))


def conditions(figures: dict[str, Any]) -> str:
    """The line below the tables: what was equal for all, and the machine."""
    plan, judged, machine, net = (figures[name] for name in ("budget", "judged", "machine", "network"))
    clock = "wall clock" if plan["clock"] == "wall" else "processor time of a thread"
    length = f"{plan['seconds']:g} s inside training steps ({clock})" if plan["seconds"] else f"{plan['steps']} steps"
    real = figures["real"]
    return (
        f"\nEach trained for {length}, batches of {figures['batch_size']}; K = {net['codes']}, {net['grid'][0]}×{net['grid'][1]} codes, width "
        f"{net['width']}, {net['depth']} blocks; {judged['samples']} samples, every class in turn. As many real training images: Fréchet distance "
        f"{real['frechet_distance']:.2f}, precision {real['precision']:.2f}, recall {real['recall']:.2f}; label accuracy of held-out images "
        f"{figures['judge_accuracy_on_held_out']:.1%}. {machine['processor']}, {machine['threads']} threads, "
        f"{'no GPU' if machine['gpu'] == 'none' else machine['gpu']}, torch {machine['torch'].partition('+')[0]}.\n"
    )


def peers(figures: dict[str, Any]) -> dict[tuple[str, str, float], dict[int, dict]]:
    """(entry, sampler, guidance) → calls → row, in the order of the entries."""
    found: dict[tuple[str, str, float], dict[int, dict]] = {}
    for name in ENTRIES:
        for row in figures["rows"]:
            if row["group"] == "peers" and row["entry"] == name:
                found.setdefault((name, row["sampler"], row["guidance"]), {})[row["calls"]] = row
    return dict(sorted(found.items(), key=lambda item: item[0][2]))


def titled(key: tuple[str, str, float], several: bool) -> str:
    entry, sampler, guidance = key
    return f"{ENTRIES[entry].title}: {sampler}" + (f", guidance {guidance:g}" if several and guidance != 1 else "")


def by_calls(figures: dict[str, Any], cell: Callable[[dict], str], best: Callable[[dict], float] | None = None) -> str:
    """A row a method and sampler, a column a number of calls; the least value of ``best`` in a column is bold."""
    rows = peers(figures)
    columns = sorted({calls for of in rows.values() for calls in of})
    several = len({key[2] for key in rows}) > 1
    least = {c: min(best(of[c]) for of in rows.values() if c in of) for c in columns} if best else {}
    lines = []
    for key, of in rows.items():
        texts = {c: cell(of[c]) if c in of else "" for c in columns}
        lines.append(
            [titled(key, several), *(f"**{texts[c]}**" if best and c in of and best(of[c]) == least[c] else texts[c] for c in columns)]
        )
    return markdown(["method: sampler", *(f"{c} call{'s' if c > 1 else ''}" for c in columns)], lines)


def quality(figures: dict[str, Any]) -> str:
    """Fréchet distance and label accuracy, by calls."""
    table = by_calls(figures, lambda r: f"{r['frechet_distance']:.2f} / {r['label_accuracy']:.0%}", lambda r: r["frechet_distance"])
    return f"{table}{conditions(figures)}\n![Fréchet distance over calls and over seconds](figures/baselines.png)\n"


def variety(figures: dict[str, Any]) -> str:
    """Precision, recall and coverage, by calls."""
    return by_calls(figures, lambda r: f"{r['precision']:.2f} / {r['recall']:.2f} / {r['coverage']:.2f}")


def times(figures: dict[str, Any]) -> str:
    """Seconds for 1,000 images' codes, by calls."""
    return by_calls(figures, lambda r: f"{r['seconds_per_1000']:.1f}")


def training(figures: dict[str, Any]) -> str:
    """What each entry did with its budget."""
    lines = []
    for name, entry in ENTRIES.items():
        if name in figures["training"]:
            f = figures["training"][name]
            counts = [f"{f['parameters'] / 1e6:.2f}", f"{f['steps']}", f"{f['wall_seconds']:.0f}", f"{f['cpu_seconds_a_thread']:.0f}"]
            lines.append([entry.title, *counts, f"{f['wall_seconds'] / f['steps']:.3f}"])
    return markdown(["method", "M parameters", "steps", "seconds (wall)", "seconds (processor, one thread)", "seconds per step"], lines)


def methods(figures: dict[str, Any]) -> str:
    """What each entry is."""
    return markdown(["method", "what it is"], [[entry.title, entry.note] for entry in ENTRIES.values() if entry.note]).replace(
        "---:", "---"
    )


def share(figures: dict[str, Any]) -> str:
    """Fréchet distance and label accuracy over the share of random codes; the best of a row is bold."""
    cells = {(r["sampler"], r["calls"], r["correct_steps"], r["entry"]): r for r in figures["rows"] if r["group"] == "share"}
    lines = []
    for sampler, calls, correct in sorted(dict.fromkeys(key[:3] for key in cells), key=lambda k: k[1]):
        row = {s: cells[key] for s, name in SHARES.items() if (key := (sampler, calls, correct, name)) in cells}
        least = min(r["frechet_distance"] for r in row.values())
        line = [f"{sampler}, {calls} calls" + (f", {correct} of them correct" if correct else "")]
        for s in SHARES:
            text = f"{row[s]['frechet_distance']:.2f} / {row[s]['label_accuracy']:.0%}" if s in row else ""
            line.append(f"**{text}**" if s in row and row[s]["frechet_distance"] == least else text)
        lines.append(line)
    return (
        markdown(["sampler", *(f"share {s:g}" for s in SHARES)], lines)
        + "\n![Fréchet distance over the share of random codes](figures/uniform_share.png)\n"
    )


MAKERS = {
    "baselines": quality, "baselines_variety": variety, "baselines_times": times, "baselines_training": training, "uniform_share": share,
}  # fmt: skip


def table(name: str, path: Path = FIGURES) -> str:
    """A table by its name on the page; where nothing was measured yet, a line that says so."""
    if name == "baselines_methods":
        return methods({})
    return MAKERS[name](json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else NONE


NAMES = ("baselines_methods", *MAKERS)
PLACE = re.compile(rf"(<!-- table ({'|'.join(NAMES)}) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def write(figures: Path, page: Path) -> None:
    """Put the tables between the page's markers, ``<!-- table NAME -->`` and ``<!-- end of table -->``."""
    text = page.read_text(encoding="utf-8")
    page.write_text(PLACE.sub(lambda found: found[1] + table(found[2], figures) + found[3], text), encoding="utf-8")
