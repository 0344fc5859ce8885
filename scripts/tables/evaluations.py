"""What ``d3pm-image evaluate`` has written: samples and reconstructions."""

from __future__ import annotations

import json

from .layout import RESULTS, markdown, read


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
    """The EuroSAT tokenizer without a discriminator, with one for its last steps, and with one for its decoder alone; all held-out images."""
    rows = []
    runs = (
        ("without", "eurosat_tokenizer", "eurosat_tokenizer_efficientnet"),
        ("400 last steps", "eurosat_tokenizer_adversarial", "eurosat_tokenizer_adversarial_efficientnet"),
        ("2,000 steps, decoder alone", "eurosat_decoder_ancestral_1.5", "eurosat_decoder_efficientnet"),
    )
    for title, name, deep in runs:
        found, other = read(name)["tokenizer"], read(deep)["tokenizer"]
        distances = [f"{f['reconstruction_frechet_distance']:.1f}" for f in (found, other)]
        rows.append([title, f"{found['psnr_db']:.2f}", f"{found['ssim']:.3f}", *distances, f"{found['codes_used']}"])
    header = ["", "PSNR, dB", "SSIM", "Fréchet, classifier", "Fréchet, EfficientNet", "codes used"]
    return markdown(header, rows)


TABLES = {"evaluations": evaluations, "reconstructions": reconstructions, "adversarial": adversarial}
