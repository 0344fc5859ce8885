"""What was timed: losses, samplers, stages, loaders."""

from __future__ import annotations

import json

from .layout import RESULTS, load, markdown, read, rounded, threads, torch_version, under


def loss() -> str:
    """Time and memory of the losses, from features and from logits."""
    kept = read("benchmark_loss")
    cells = {(row["codes"], row["loss"], row["from"]): row for row in kept["rows"]}
    rows = []
    for codes, name in dict.fromkeys((row["codes"], row["loss"]) for row in kept["rows"]):
        line = [f"{codes}", name]
        for start in ("features", "logits"):
            if row := cells.get((codes, name, start)):
                ratio, memory = f"{row['ratio_to_cross_entropy']:.2f} ×", f"{row['peak_megabytes']:.0f}"
                line += [rounded(row["milliseconds"]), ratio, memory]
            else:
                line += [""] * 3
        rows.append(line)
    ratio_and_memory = ["of cross-entropy", "peak MB"]
    header = ["K", "loss", "head + loss, ms", *ratio_and_memory, "loss alone, ms", *ratio_and_memory]
    return markdown(header, rows) + under(kept["machine"])


def sampling() -> str:
    """Images per second of every sampler, and what the loop costs."""
    kept = read("benchmark_sampling")
    rows = [[r["sampler"], f"{r['images_per_s']:.2f}", f"{r['outside_denoiser']:.1%}"] for r in kept["rows"]]
    return markdown(["sampler", "images/s", "time outside the denoiser"], rows) + under(kept["machine"])


def benchmarks() -> str:
    """Every benchmark whose results are kept: the command and the machine."""
    rows = []
    for path in sorted(RESULTS.glob("benchmark_*.json")):
        kept, name = load(path), path.stem.removeprefix("benchmark_")
        machine = kept["machine"]
        where = f"{machine['processor']}, {threads(machine)}, {torch_version(machine)}"
        command = f"`python -m benchmarks.speed {name} --repeats {kept['repeats']}`"
        rows.append([f"[{name}](results/{path.name})", command, where])
    return markdown(["benchmark", "command", "machine"], rows)


def end_to_end() -> str:
    """Seconds of every stage, from training to evaluation."""
    kept = read("benchmark_end_to_end")
    cells = {(row["stage"], row["precision"]): row["seconds"] for row in kept["rows"]}
    rows = []
    for stage in dict.fromkeys(stage for stage, _ in cells):
        full, half = cells[stage, "float32"], cells[stage, "bf16"]
        rows.append([stage, f"{full:.1f}", f"{half:.1f}", f"{full / half:.2f}"])
    steps = kept["rows"][0]["steps"]
    header = [f"stage ({steps} steps of each training)", "float32, s", "bf16, s", "ratio"]
    return markdown(header, rows) + under(kept["machine"])


def peers() -> str:
    """This denoiser beside its neighbours, each eager and compiled; of several samplers the fastest."""
    kept = read("benchmark_peers")
    cells: dict[tuple[str, str, str], float] = {}
    for row in kept["rows"]:
        key = row["precision"], row["contestant"].split(":")[0], row["task"]
        cells[key] = min(row["seconds"], cells.get(key, float("inf")))
    tasks = list(dict.fromkeys(task for *_, task in cells))
    rows = []
    for precision, name in dict.fromkeys((precision, name) for precision, name, _ in cells):
        if not name.endswith(", compiled"):
            of = [(cells[precision, name, t], cells[precision, f"{name}, compiled", t]) for t in tasks]
            pairs = [f"{rounded(a * 1e3)} → {rounded(b * 1e3)}" for a, b in of]
            rows.append([precision, name, *pairs])
    return markdown(["precision", "ms, eager → compiled", *tasks], rows) + under(kept["machine"])


def attention() -> str:
    """Plain products against torch's fused kernel, by tokens and precision."""
    kept = read("benchmark_attention")
    cells = {(row["precision"], row["tokens"], row["task"]): row for row in kept["rows"]}
    tasks = list(dict.fromkeys(task for *_, task in cells))
    rows = []
    for precision, tokens in dict.fromkeys((precision, tokens) for precision, tokens, _ in cells):
        of = [cells[precision, tokens, task] for task in tasks]
        times = [f"{rounded(r['fused_ms'])} → {rounded(r['plain_ms'])}" for r in of]
        rows.append([precision, f"{tokens:,}", *times])
    return markdown(["precision", "tokens", *(f"{task}, ms, fused → plain" for task in tasks)], rows) + under(
        kept["machine"]
    )


def tokenizers() -> str:
    """Training steps of the tokenizer against a plain VQ-VAE."""
    kept = read("benchmark_tokenizer")
    rows = [[row["entry"], f"{row['images_per_s']:.1f}", f"{row['ratio']:.2f}"] for row in kept["rows"]]
    return markdown(["network, precision", "images/s", "of plain float32"], rows) + under(kept["machine"])


def data() -> str:
    """Images and codes per second out of the loader, and memory over ten million images."""
    kept = read("benchmark_data")
    rates = [[row["what"], f"{row['images_per_s']:,.0f}"] for row in kept["rows"]]
    table = markdown(["reading", "images/s"], rates)
    columns = ("own_before_mb", "own_after_mb", "file_before_mb", "file_after_mb")
    caches = [row for row in kept["rows"] if "files" in row]
    rows = [[r["what"], f"{r['files']}", *(f"{r[name]:,.0f}" for name in columns)] for r in caches]
    read_images = f"after {caches[-1]['read']:,} images"
    header = ["memory in MB", "files", "own, before", read_images, "mapped pages, before", "after"]
    how = "the best of several runs, wall time, other programs beside it"
    return table + "\n" + markdown(header, rows) + under(kept["machine"], how)


def waits() -> str:
    """Share of a step that waited for data, out of the logs of whole runs."""
    rows = []
    for path in sorted(RESULTS.glob("*_log.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        shares = [line["data_wait"] for line in lines if "data_wait" in line]
        if shares:
            name = path.name.removesuffix("_log.jsonl").replace("_", " ")
            mean = sum(shares) / len(shares)
            rows.append([name, f"{lines[-1]['step']:,}", f"{mean:.2%}", f"{max(shares):.2%}"])
    return markdown(["run", "steps", "mean `data_wait`", "largest of all logged"], rows)


TABLES = {
    "loss": loss,
    "sampling": sampling,
    "benchmarks": benchmarks,
    "end_to_end": end_to_end,
    "peers": peers,
    "attention": attention,
    "tokenizers": tokenizers,
    "data": data,
    "waits": waits,
}
