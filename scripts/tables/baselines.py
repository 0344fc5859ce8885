"""Other methods beside the library's own: tables of docs/baselines.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.baselines.entries import ENTRIES, KERNELS, SHARES

from .layout import NONE, RESULTS, load, markdown, whereabouts

FILE = RESULTS / "fashion_mnist_baselines.json"
SPRITES = RESULTS / "sprites_kernels.json"
Results = dict[str, Any]
Row = dict[str, Any]
Key = tuple[str, str, float]  # entry, sampler, guidance


def conditions(results: Results) -> str:
    """The line below the tables: what was equal for all, and the machine."""
    plan, evaluation, net, real = (results[name] for name in ("budget", "evaluation", "network", "real"))
    clock = "wall clock" if plan["clock"] == "wall" else "processor time of a thread"
    seconds = f"{plan['seconds']:g} s inside training steps ({clock})"
    length = seconds if plan["seconds"] else f"{plan['steps']} steps"
    return (
        f"\nEach trained for {length}, batches of {results['batch_size']}; K = {net['codes']}, "
        f"{net['grid'][0]}×{net['grid'][1]} codes, width {net['width']}, {net['depth']} blocks; "
        f"{evaluation['samples']} samples, every class in turn. As many real training images: "
        f"Fréchet distance {real['frechet_distance']:.2f}, precision {real['precision']:.2f}, recall "
        f"{real['recall']:.2f}; label accuracy of held-out images "
        f"{results['classifier_accuracy_on_held_out']:.1%}. "
        f"{whereabouts(results['machine'])}.\n"
    )


def peers(results: Results) -> dict[Key, dict[int, Row]]:
    """(entry, sampler, guidance) → calls → row, in the order of the entries."""
    found: dict[Key, dict[int, Row]] = {}
    for name in ENTRIES:
        for row in results["rows"]:
            if row["group"] == "peers" and row["entry"] == name:
                found.setdefault((name, row["sampler"], row["guidance"]), {})[row["calls"]] = row
    return dict(sorted(found.items(), key=lambda item: item[0][2]))


def title(key: Key, several: bool) -> str:
    """Method and sampler, and the guidance where the table has several."""
    entry, sampler, guidance = key
    told = f", guidance {guidance:g}" if several and guidance != 1 else ""
    return f"{ENTRIES[entry].title}: {sampler}{told}"


def by_calls(results: Results, cell: Callable[[Row], str], best: Callable[[Row], float] | None = None) -> str:
    """A row per method and sampler, a column per number of calls; the least value of ``best`` in a column is
    bold."""
    rows = peers(results)
    columns = sorted({calls for found in rows.values() for calls in found})
    several = len({guidance for _, _, guidance in rows}) > 1
    least = {c: min(best(found[c]) for found in rows.values() if c in found) for c in columns} if best else {}

    def text(found: dict[int, Row], calls: int) -> str:
        if calls not in found:
            return ""
        row = found[calls]
        return f"**{cell(row)}**" if best and best(row) == least[calls] else cell(row)

    lines = [[title(key, several), *(text(found, c) for c in columns)] for key, found in rows.items()]
    return markdown(["method: sampler", *(f"{c} call{'s' if c > 1 else ''}" for c in columns)], lines)


def distance(row: Row) -> float:
    return row["frechet_distance"]


def quality_cell(row: Row) -> str:
    return f"{row['frechet_distance']:.2f} / {row['label_accuracy']:.0%}"


def quality(results: Results) -> str:
    """Fréchet distance and label accuracy, by calls."""
    plot = "![Fréchet distance over calls and over seconds](figures/baselines.png)"
    return f"{by_calls(results, quality_cell, distance)}{conditions(results)}\n{plot}\n"


def variety(results: Results) -> str:
    """Precision, recall and coverage, by calls."""
    return by_calls(results, lambda r: f"{r['precision']:.2f} / {r['recall']:.2f} / {r['coverage']:.2f}")


def times(results: Results) -> str:
    """Seconds for 1,000 images' codes, by calls."""
    return by_calls(results, lambda r: f"{r['seconds_per_1000']:.1f}")


def training(results: Results) -> str:
    """What each entry did with its budget."""
    lines = []
    for name, entry in ENTRIES.items():
        if name in results["training"]:
            found = results["training"][name]
            sizes = [f"{found['parameters'] / 1e6:.2f}", f"{found['steps']}"]
            seconds = [f"{found['wall_seconds']:.0f}", f"{found['cpu_seconds_a_thread']:.0f}"]
            lines.append([entry.title, *sizes, *seconds, f"{found['wall_seconds'] / found['steps']:.3f}"])
    seconds = ["seconds (wall)", "seconds (processor, one thread)", "seconds per step"]
    return markdown(["method", "M parameters", "steps", *seconds], lines)


def methods() -> str:
    """What each entry is."""
    lines = [[entry.title, entry.note] for entry in ENTRIES.values() if entry.note]
    return markdown(["method", "what it is"], lines).replace("---:", "---")


def share(results: Results) -> str:
    """Fréchet distance and label accuracy over the share of random codes; the best of a row is bold."""
    rows = [r for r in results["rows"] if r["group"] == "share"]
    cells = {(r["sampler"], r["calls"], r["correct_steps"], r["entry"]): r for r in rows}
    lines = []
    for sampler, calls, correct in sorted(dict.fromkeys(key[:3] for key in cells), key=lambda k: k[1]):
        found = {s: cells.get((sampler, calls, correct, name)) for s, name in SHARES.items()}
        least = min(map(distance, filter(None, found.values())))
        line = [f"{sampler}, {calls} calls" + (f", {correct} of them correct" if correct else "")]
        for row in found.values():
            text = quality_cell(row) if row else ""
            line.append(f"**{text}**" if row and distance(row) == least else text)
        lines.append(line)
    table = markdown(["sampler", *(f"share {s:g}" for s in SHARES)], lines)
    return f"{table}\n![Fréchet distance over the share of random codes](figures/uniform_share.png)\n"


def kernels(results: Results) -> str:
    """Held-out bits per code and Fréchet distance by calls, for every kernel; the least of a column is
    bold."""
    rows = {(r["entry"], r["calls"]): r for r in results["rows"] if r["group"] == "kernels"}
    calls = sorted({number for _, number in rows})
    found = [name for name in KERNELS if all((name, number) in rows for number in calls)]

    def column(values: list[float], digits: int) -> list[str]:
        return [f"**{v:.{digits}f}**" if v == min(values) else f"{v:.{digits}f}" for v in values]

    trained = results["training"]
    columns = [
        [KERNELS[name] for name in found],
        [str(trained[name]["steps"]) for name in found],
        column([trained[name]["held_out"]["bits"] for name in found], 3),
        *(column([distance(rows[name, number]) for name in found], 2) for number in calls),
    ]
    error = max(trained[name]["held_out"]["standard_error"] for name in found)
    heads = ["what a token becomes", "steps", "bits per code", *(f"distance, {c} calls" for c in calls)]
    images = trained[found[0]]["held_out"]["images"]
    told = f"Bits: variational bound of {images} held-out images, standard error at most {error:.3f}.\n"
    return markdown(heads, [list(line) for line in zip(*columns, strict=True)]) + conditions(results) + told


MAKERS = {
    "baselines": quality,
    "baselines_variety": variety,
    "baselines_times": times,
    "baselines_training": training,
    "uniform_share": share,
}


def table(name: str, path: Path = FILE) -> str:
    """A table by its name on the page; where nothing was measured yet, a line that says so."""
    return MAKERS[name](load(path)) if path.is_file() else NONE


TABLES = {
    "baselines_methods": methods,
    **{name: partial(table, name) for name in MAKERS},
    "kernels": lambda: kernels(load(SPRITES)) if SPRITES.is_file() else NONE,
}
