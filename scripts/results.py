"""Tables of the pages, out of the figures in docs/results: no figure of a table is typed.

    python scripts/results.py            # writes every table into the page that has its markers
    python scripts/results.py --check    # fails where a page says something else than its figures

A page marks the place of a table with ``<!-- table NAME -->`` and ``<!-- end of table -->``; NAME is a key of TABLES below.
docs/tutorial.md marks a picture of scripts/tutorial.sh with ``<!-- picture NAME -->``, which stays empty until docs/tutorial/NAME.jpg is there.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from baselines import tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results"
PICTURE = re.compile(r"<!-- picture (\w+) -->\n(?:!\[.*\n)?")
PLACE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is text, all others are figures."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join("| " + " | ".join(row) + " |\n" for row in (header, rule, *rows))


def read(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def under(machine: dict) -> str:
    """The line below a table that says where it was measured."""
    gpu = "no GPU" if machine["gpu"] == "none" else machine["gpu"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    return f"\n{machine['processor']}, {threads}, {gpu}, torch {machine['torch'].partition('+')[0]}; medians of runs that take turns.\n"


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
    """Images a second of every step rule, and what the loop costs."""
    kept = read("benchmark_sampling")
    rows = [[r["sampler"], f"{r['images_per_s']:.2f}", f"{r['outside_denoiser']:.1%}"] for r in kept["rows"]]
    return markdown(["sampler", "images/s", "time outside the denoiser"], rows) + under(kept["machine"])


def samplers() -> str:
    """Fréchet distance and label accuracy of every sampler at every number of steps; the best distance of a column is bold."""
    kept = read("fashion_mnist_samplers")
    cells = {(row["name"], row["steps"]): row for row in kept["rows"]}
    columns = sorted({steps for _, steps in cells})
    best = {s: min(row["frechet_distance"] for (_, steps), row in cells.items() if steps == s) for s in columns}
    rows = []
    for name in dict.fromkeys(name for name, _ in cells):
        line = [name]
        for s in columns:
            row = cells.get((name, s))
            text = f"{row['frechet_distance']:.2f} / {row['label_accuracy']:.0%}" if row else ""
            line.append(f"**{text}**" if row and row["frechet_distance"] == best[s] else text)
        rows.append(line)
    return markdown(["sampler", *(f"{s} steps" for s in columns)], rows)


def pixels() -> str:
    """Variational bounds of pixel-space Fashion-MNIST."""
    rows = []
    for title, name in (("absorbing", "absorbing"), ("hybrid (a tenth random)", "hybrid"), ("uniform", "uniform")):
        bound = read(f"fashion_mnist_pixels_{name}")["likelihood"]
        rows.append([title, f"{bound['bits_per_code']:.3f}", f"{bound['standard_error_bits_per_code']:.3f}"])
    return markdown(["process", "bits a dimension", "standard error"], rows)


def editing() -> str:
    """Halves of Fashion-MNIST test images completed: do they still show their class, and does the seam show?"""
    kept = read("editing_fashion_mnist")
    rows = []
    for name, row in kept["rows"].items():
        sides = [f"{row['accuracy_by_side'][side]:.1%}" for side in ("left", "right", "top", "bottom")]
        rows.append([name, f"{row['accuracy']:.1%}", *sides, f"{row['seam_ratio']:.2f}"])
    table = markdown(["the hidden half", "label accuracy", "left", "right", "top", "bottom", "seam"], rows)
    return f"{table}\n{kept['num_images']} images, no label given, {kept['steps']} steps of {kept['sampler']}, guidance {kept['guidance']:g}, {kept['precision']}.\n"


def receptive() -> str:
    """Share of codes that a filled hole changes, by distance from it."""
    rows = []
    for row in read("editing_receptive")["rows"]:
        name = f"{Path(row['tokenizer']).parent.name}, {row['image_size'][0]} px f{row['downsampling']}"
        for shape, title in (("boxes", "boxes"), ("halves", "right half")):
            shares = ["" if share is None else f"{share:.0%}" for share in row[shape]["shares"]]
            rows.append([f"{name}, {title}", *shares, str(row[shape]["ring"])])
    return markdown(["tokenizer, hole", "1 cell", "2", "3", "4", "further", "ring"], rows)


def evaluations() -> str:
    """Every result of ``d3pm-image evaluate`` that has samples: figures, real images beside them, and how they were made."""
    parts = []
    for name, kept in evaluated():
        samples, machine = kept["samples"], kept["machine"]
        settings = samples["settings"]
        rows = []
        for title, found in (("samples", samples["fidelity"]), ("real training images", samples["fidelity_of_real_training_images"])):
            kernel = f"{found['kernel_distance'] * 1000:.2f} ± {found['kernel_distance_standard_error'] * 1000:.2f}"
            four = [f"{found[n]:.2f}" for n in ("precision", "recall", "density", "coverage")]
            spread = f"{found['within_class_spread']:.2f}" if "within_class_spread" in found else ""
            rows.append([title, f"{found['frechet_distance']:.3f}", kernel, *four, spread])
        header = ["", "Fréchet", "kernel × 1000", "precision", "recall", "density", "coverage", "spread in class"]
        shown = f"; {samples['label_accuracy']:.1%} show their class (held-out images: {samples['judge_accuracy_on_held_out']:.1%})"
        memory = samples.get("memorisation", {})
        near = f"; nearer to a training image than 99 % of held-out images are: {memory['share_unusually_near']:.1%}" if memory else ""
        parts.append(
            f"### {name}\n\n`{kept['command']}`\n\n{samples['num_samples']} samples of {kept['data']}, {settings['sampler']}, "
            f"{settings['steps']} steps, guidance {settings['guidance']:g}, {samples['calls_per_image']:g} network calls an image, seed "
            f"{samples['seed']}, {samples['precision']}: {samples['seconds']:,.0f} s on {samples['processes']} process"
            f"{'es' if samples['processes'] > 1 else ''}"
            f"{shown if 'label_accuracy' in samples else ''}{near}.\n\n{markdown(header, rows)}\n"
            f"Features: {samples['features']['network']} (weights {samples['features']['sha256'][:12]}), images {samples['features']['preparation']}. "
            f"Reference: {samples['reference']['images']:,} {samples['reference']['set'].replace('_', '-')} images "
            f"({samples['reference']['sha256'][:12]}). {machine['processor']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}, "
            f"torch {machine['torch'].partition('+')[0]}, code {kept['code']['source_sha256'][:12]}. [Figures](results/{name}.json).\n"
        )
    return "\n".join(parts)


def evaluated() -> list[tuple[str, dict]]:
    """Names and contents of the result files that ``evaluate`` has written."""
    found = []
    for path in sorted(RESULTS.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.get("format") == "d3pm-image-evaluation" and "samples" in kept:
            found.append((path.stem, kept))
    return found


def reconstructions() -> str:
    """What tokenizers give back of held-out images."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if (
            isinstance(kept, dict)
            and kept.get("format") == "d3pm-image-evaluation"
            and "reconstruction_frechet_distance" in kept["tokenizer"]
        ):
            found = kept["tokenizer"]
            codes = f"{found['codes_used']} of {found['num_codes']}"
            values = [f"{found['psnr_db']:.2f}", f"{found['ssim']:.3f}", codes, f"{found['perplexity']:.0f}"]
            distance = f"{found['reconstruction_frechet_distance']:.3f}"
            network = found["reconstruction_frechet_features"].partition(",")[0]
            rows.append([f"[{path.stem}](results/{path.name})", str(kept["held_out_images"]), *values, distance, network])
    return markdown(["evaluation", "images", "PSNR, dB", "SSIM", "codes used", "perplexity", "Fréchet", "in features of"], rows)


def adversarial() -> str:
    """The EuroSAT tokenizer with and without a discriminator for its last steps, on all held-out images."""
    rows = []
    for title, name in (("without", "eurosat_tokenizer"), ("with the discriminator", "eurosat_tokenizer_adversarial")):
        found, other = read(name)["tokenizer"], read(f"{name}_efficientnet")["tokenizer"]
        distances = [f"{f['reconstruction_frechet_distance']:.1f}" for f in (found, other)]
        rows.append([title, f"{found['psnr_db']:.2f}", f"{found['ssim']:.3f}", *distances, f"{found['codes_used']}"])
    header = ["", "PSNR, dB", "SSIM", "Fréchet, classifier", "Fréchet, EfficientNet", "codes used"]
    return markdown(header, rows)


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
    """Images and codes a second out of the loader, and memory over ten million images."""
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


def fashion() -> str:
    """Samples of the shipped Fashion-MNIST model by three settings, beside real images."""
    names = {
        "16 ancestral steps, no guidance": "ancestral_1.0",
        "16 ancestral steps, guidance 1.5 (its default)": "ancestral_1.5",
        "16 MaskGIT steps, guidance 1.5": "confidence_1.5",
    }
    keys, rows = ("frechet_distance", "precision", "recall", "coverage", "within_class_spread"), []
    for title, name in names.items():
        found = read(f"fashion_mnist_{name}")["samples"]
        rows.append([title, f"{found['label_accuracy']:.1%}", *(f"{found['fidelity'][key]:.2f}" for key in keys)])
    real = found["fidelity_of_real_training_images"]
    rows.append(["real training images", f"{found['judge_accuracy_on_held_out']:.1%} (test images)", *(f"{real[key]:.2f}" for key in keys)])
    return markdown(["2,000 samples", "label accuracy", "Fréchet", "precision", "recall", "coverage", "spread in class"], rows)


def digits() -> str:
    """What the quickstart's last line says."""
    kept = read("digits")["samples"]
    settings = kept["settings"]
    return (
        f"Digits, 16 px (`scripts/quickstart.sh`): {kept['label_accuracy']:.1%} of {kept['num_samples']:,} samples ({settings['steps']} steps of "
        f"{settings['sampler']}, guidance {settings['guidance']:g}) show the digit that was asked for, says {kept['judge']} "
        f"({kept['judge_accuracy_on_held_out']:.1%} on held-out digits).\n"
    )


def tutorial() -> str:
    """What evaluate says of the tutorial's model, beside real images."""
    if not (RESULTS / "tutorial.json").is_file():
        return tables.NONE
    kept = read("tutorial")["evaluation"]
    samples, real = kept["samples"]["fidelity"], kept["samples"]["fidelity_of_real_training_images"]
    names = [name for name in ("frechet_distance", "precision", "recall", "coverage") if name in samples and name in real]
    rows = [[name.replace("_", " "), f"{samples[name]:.2f}", f"{real[name]:.2f}"] for name in names]
    judge = kept["samples"]
    rows.insert(0, ["label accuracy", f"{judge['label_accuracy']:.1%}", f"{judge['judge_accuracy_on_held_out']:.1%} (held out)"])
    tokenizer = kept["tokenizer"]
    also = f"Reconstructions: PSNR {tokenizer['psnr_db']:.1f} dB, {tokenizer['codes_used']:.0f} of {tokenizer['num_codes']} codes used."
    return markdown([f"{judge['num_samples']} samples", "samples", "real images"], rows) + f"\n{also}\n"


def tutorial_seconds() -> str:
    """Seconds of every command of the tutorial."""
    if not (RESULTS / "tutorial.json").is_file():
        return tables.NONE
    kept = read("tutorial")
    rows = [[f"`{name}`", f"{seconds:,}"] for name, seconds in kept["seconds"].items()]
    return markdown(["command, with its start", "seconds"], [*rows, ["together", f"{sum(kept['seconds'].values()):,}"]])


TABLES = {
    "digits": digits, "fashion": fashion,
    "tutorial": tutorial, "tutorial_seconds": tutorial_seconds,
    "adversarial": adversarial, "benchmarks": benchmarks, "evaluations": evaluations, "reconstructions": reconstructions, "roads": roads, "tokenizers": tokenizers,
    "loss": loss, "sampling": sampling, "samplers": samplers, "pixels": pixels, "editing": editing, "receptive": receptive,
    "data": data, "waits": waits,
}  # fmt: skip
TABLES |= {name: partial(tables.table, name) for name in tables.NAMES}


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def picture(found: re.Match[str]) -> str:
    """The marker of a picture, and the picture below it if there is one."""
    name = found[1]
    there = (ROOT / "docs" / "tutorial" / f"{name}.jpg").is_file()
    return f"<!-- picture {name} -->\n" + (f"![{name}](tutorial/{name}.jpg)\n" if there else "")


def written(page: Path) -> str:
    """The page's text with its tables and pictures made anew."""
    text = PLACE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], page.read_text(encoding="utf-8"))
    return PICTURE.sub(picture, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs from its figures")
    check = parser.parse_args().check
    for page in pages():
        new = written(page)
        if new == page.read_text(encoding="utf-8"):
            continue
        print(f"{'differs from its figures' if check else 'written'}: {page.relative_to(ROOT)}")
        if check:
            sys.exit(1)
        page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
