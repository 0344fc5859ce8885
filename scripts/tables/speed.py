"""What was timed: losses, samplers, stages, loaders."""

from __future__ import annotations

import json

from .layout import RESULTS, figure, markdown, read, under


def loss() -> str:
    """Time and memory of the losses, from features and from logits."""
    kept = read("benchmark_loss")
    cells = {(row["codes"], row["loss"], row["from"]): row for row in kept["rows"]}
    rows = []
    for codes, name in dict.fromkeys((row["codes"], row["loss"]) for row in kept["rows"]):
        line = [f"{codes}", name]
        for start in ("features", "logits"):
            row = cells.get((codes, name, start))
            line += (
                [figure(row["milliseconds"]), f"{row['ratio_to_cross_entropy']:.2f} ×", f"{row['peak_megabytes']:.0f}"] if row else [""] * 3
            )
        rows.append(line)
    header = ["K", "loss", "head + loss, ms", "of cross-entropy", "peak MB", "loss alone, ms", "of cross-entropy", "peak MB"]
    return markdown(header, rows) + under(kept["machine"])


def sampling() -> str:
    """Images per second of every step rule, and what the loop costs."""
    kept = read("benchmark_sampling")
    rows = [[r["sampler"], f"{r['images_per_s']:.2f}", f"{r['outside_denoiser']:.1%}"] for r in kept["rows"]]
    return markdown(["sampler", "images/s", "time outside the denoiser"], rows) + under(kept["machine"])


def benchmarks() -> str:
    """Every benchmark whose figures are kept: the command and the machine."""
    rows = []
    for path in sorted(RESULTS.glob("benchmark_*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        machine = kept["machine"]
        where = f"{machine['processor']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}, torch {machine['torch'].partition('+')[0]}"
        name = path.stem.removeprefix("benchmark_")
        rows.append([f"[{name}](results/{path.name})", f"`python scripts/benchmark.py {name} --repeats {kept['repeats']}`", where])
    return markdown(["benchmark", "command", "machine"], rows)


def roads() -> str:
    """Seconds of every stage of the whole road."""
    kept = read("benchmark_end_to_end")
    cells = {(row["stage"], row["precision"]): row["seconds"] for row in kept["rows"]}
    rows = []
    for stage in dict.fromkeys(stage for stage, _ in cells):
        full, half = cells[stage, "float32"], cells[stage, "bf16"]
        rows.append([stage, f"{full:.1f}", f"{half:.1f}", f"{full / half:.2f}"])
    steps = kept["rows"][0]["steps"]
    return markdown([f"stage ({steps} steps of each training)", "float32, s", "bf16, s", "ratio"], rows) + under(kept["machine"])


def tokenizers() -> str:
    """Training steps of the tokenizer against a plain VQ-VAE."""
    kept = read("benchmark_tokenizer")
    rows = [[row["entry"], f"{row['images_per_s']:.1f}", f"{row['ratio']:.2f}"] for row in kept["rows"]]
    return markdown(["network, precision", "images/s", "of plain float32"], rows) + under(kept["machine"])


def data() -> str:
    """Images and codes per second out of the loader, and memory over ten million images."""
    kept = read("benchmark_data")
    table = markdown(["reading", "images/s"], [[row["what"], f"{row['images_per_s']:,.0f}"] for row in kept["rows"]])
    rows = [
        [
            row["what"],
            f"{row['files']}",
            *(f"{row[name]:,.0f}" for name in ("own_before_mb", "own_after_mb", "file_before_mb", "file_after_mb")),
        ]
        for row in kept["rows"]
        if "files" in row
    ]
    header = ["memory in MB", "files", "own, before", f"after {kept['rows'][-1]['read']:,} images", "mapped pages, before", "after"]
    machine = under(kept["machine"]).replace(
        "medians of runs that take turns", "the best of several runs, wall time, other programs beside it"
    )
    return table + "\n" + markdown(header, rows) + machine


def waits() -> str:
    """Share of a step that waited for data, out of the logs of whole runs."""
    rows = []
    for path in sorted(RESULTS.glob("*_log.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        shares = [line["data_wait"] for line in lines if "data_wait" in line]
        if shares:
            name = path.name.removesuffix("_log.jsonl").replace("_", " ")
            rows.append([name, f"{lines[-1]['step']:,}", f"{sum(shares) / len(shares):.2%}", f"{max(shares):.2%}"])
    return markdown(["run", "steps", "mean `data_wait`", "largest of all logged"], rows)


TABLES = {
    "loss": loss,
    "sampling": sampling,
    "benchmarks": benchmarks,
    "roads": roads,
    "tokenizers": tokenizers,
    "data": data,
    "waits": waits,
}
