"""What ``d3pm-image evaluate`` has written: samples, completed images and reconstructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .layout import NONE, RESULTS, load, markdown, read, threads, torch_version


def evaluations() -> str:
    """Every result of ``d3pm-image evaluate`` that has samples: measures, real images beside them, how they
    were made."""
    return "\n".join(evaluation(path.stem, kept) for path, kept in evaluated() if "samples" in kept)


def evaluated() -> list[tuple[Path, dict[str, Any]]]:
    """The result files that ``evaluate`` has written."""
    found = [(path, load(path)) for path in sorted(RESULTS.glob("*.json"))]
    return [(path, kept) for path, kept in found if kept.get("format") == "d3pm-image-evaluation"]


def evaluation(name: str, kept: dict[str, Any]) -> str:
    """The section of one result."""
    samples = kept["samples"]
    real = samples["fidelity_of_real_training_images"]
    measures = ["Fréchet", "kernel × 1000", "precision", "recall", "density", "coverage", "spread in class"]
    rows = [["samples", *fidelity(samples["fidelity"])], ["real training images", *fidelity(real)]]
    table = markdown(["", *measures], rows)
    return f"### {name}\n\n`{kept['command']}`\n\n{drawn(kept)}\n\n{table}\n{origin(name, kept)}"


def fidelity(found: dict[str, float]) -> list[str]:
    """The cells of a row, from the Fréchet distance on."""
    kernel = f"{found['kernel_distance'] * 1000:.2f} ± {found['kernel_distance_standard_error'] * 1000:.2f}"
    four = [f"{found[n]:.2f}" for n in ("precision", "recall", "density", "coverage")]
    spread = f"{found['intra_class_distance']:.2f}" if "intra_class_distance" in found else ""
    return [f"{found['frechet_distance']:.3f}", kernel, *four, spread]


def drawn(kept: dict[str, Any]) -> str:
    """How many samples, by which settings, in what time, and what they show."""
    samples = kept["samples"]
    settings, processes = samples["settings"], samples["processes"]
    text = (
        f"{samples['num_samples']} samples of {kept['data']}, {settings['sampler']}, "
        f"{settings['steps']} steps, guidance {settings['guidance']:g}, "
        f"{samples['calls_per_image']:g} network calls per image, "
        f"seed {samples['seed']}, {samples['precision']}: {samples['seconds']:,.0f} s on {processes} "
        f"process{'es' if processes > 1 else ''}"
    )
    if "label_accuracy" in samples:
        accuracy, held_out = samples["label_accuracy"], samples["classifier_accuracy_on_held_out"]
        text += f"; {accuracy:.1%} show their class (held-out images: {held_out:.1%})"
    if near := samples.get("memorisation", {}):
        unusual = f"{near['share_unusually_near']:.1%}"
        text += f"; nearer to a training image than 99 % of held-out images are: {unusual}"
    return f"{text}."


def origin(name: str, kept: dict[str, Any]) -> str:
    """Features, reference set, machine and code."""
    samples, machine = kept["samples"], kept["machine"]
    features, reference = samples["features"], samples["reference"]
    return (
        f"Features: {features['network']} (weights {features['sha256'][:12]}), "
        f"images {features['preparation']}. "
        f"Reference: {reference['images']:,} {reference['set'].replace('_', '-')} images "
        f"({reference['sha256'][:12]}). {machine['processor']}, {threads(machine)}, "
        f"{torch_version(machine)}, code {kept['code']['source_sha256'][:12]}. "
        f"[Figures](results/{name}.json).\n"
    )


def reconstructions() -> str:
    """What tokenizers give back of held-out images."""
    rows = []
    for path, kept in evaluated():
        found = kept["tokenizer"]
        if "reconstruction_frechet_distance" in found:
            codes = f"{found['codes_used']} of {found['num_codes']}"
            values = [f"{found['psnr_db']:.2f}", f"{found['ssim']:.3f}", codes, f"{found['perplexity']:.0f}"]
            distance = f"{found['reconstruction_frechet_distance']:.3f}"
            network = found["reconstruction_frechet_features"].partition(",")[0]
            link, images = f"[{path.stem}](results/{path.name})", str(kept["held_out_images"])
            rows.append([link, images, *values, distance, network])
    columns = ["evaluation", "images", "PSNR, dB", "SSIM", "codes used", "perplexity", "Fréchet"]
    return markdown([*columns, "in features of"], rows)


def adversarial() -> str:
    """The EuroSAT tokenizer without a discriminator, with one for its last steps, and with one for its
    decoder alone; all held-out images."""
    rows = []
    runs = (
        ("without", "eurosat_tokenizer", "eurosat_tokenizer_efficientnet"),
        ("400 last steps", "eurosat_tokenizer_adversarial", "eurosat_tokenizer_adversarial_efficientnet"),
        ("2,000 steps, decoder alone", "eurosat_decoder_ancestral_1.5", "eurosat_decoder_efficientnet"),
    )
    for title, name, deep in runs:
        found, other = read(name)["tokenizer"], read(deep)["tokenizer"]
        distances = [f"{f['reconstruction_frechet_distance']:.1f}" for f in (found, other)]
        quality = [f"{found['psnr_db']:.2f}", f"{found['ssim']:.3f}"]
        rows.append([title, *quality, *distances, f"{found['codes_used']}"])
    header = ["", "PSNR, dB", "SSIM", "Fréchet, classifier", "Fréchet, EfficientNet", "codes used"]
    return markdown(header, rows)


def emoji_curve() -> str:
    """What longer training gave the denoiser of emoji."""
    path = RESULTS / "emoji_diffusion_log.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows, seconds = [], 0.0
    for line in lines:
        seconds = line.get("seconds", seconds)
        if "val_bits_per_code" in line:
            accuracy = f"{line['val_accuracy']:.1%}"
            rows.append(
                [f"{line['step']:,}", f"{seconds / 60:.0f}", f"{line['val_bits_per_code']:.2f}", accuracy]
            )
    return markdown(["steps of 64 images", "minutes", "bits per code", "codes that are right"], rows)


def inpainting() -> str:
    """What ``evaluate --inpaint`` says of completed held-out images, and of the same with the hidden region
    as the tokenizer gives it back."""
    rows = []
    for path, kept in evaluated():
        for name, found in kept.get("inpainting", {}).get("regions", {}).items():
            link, images = f"[{path.stem}](results/{path.name})", kept["inpainting"]["num_images"]
            title = f"{link}, {name}, {found['hidden_share']:.0%} hidden"
            rows.append([title, f"{images:,}", *completed(found)])
            rows.append(
                ["its tokenizer's reconstruction", f"{images:,}", *completed(found["reconstruction"])]
            )
    columns = ["images", "label accuracy", "Fréchet", "seam", "PSNR, dB", "known pixels changed", "leaks"]
    return markdown(["", *columns], rows) if rows else NONE


def completed(found: dict[str, Any]) -> list[str]:
    """The cells of a row of completed images, from the label accuracy on."""
    accuracy = f"{found['label_accuracy']:.1%}" if "label_accuracy" in found else ""
    seam = "" if found["seam_ratio"] is None else f"{found['seam_ratio']:.2f}"
    changed = f"{found['known_pixels_changed']}" if "known_pixels_changed" in found else ""
    leaks = f"{found['leaks']} of {found['leaks_checked']}" if "leaks" in found else ""
    return [accuracy, f"{found['frechet_distance']:.2f}", seam, f"{found['psnr_db']:.2f}", changed, leaks]


TABLES = {
    "evaluations": evaluations,
    "inpainting": inpainting,
    "reconstructions": reconstructions,
    "adversarial": adversarial,
    "emoji_curve": emoji_curve,
}
