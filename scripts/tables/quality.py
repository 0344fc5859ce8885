"""What the models generate and repaint: distances, accuracies, likelihoods."""

from __future__ import annotations

from pathlib import Path

from d3pm_image.sampling import SAMPLERS

from .layout import NONE, RESULTS, markdown, read, threads, torch_version


def digits() -> str:
    """What the quickstart's last line says."""
    kept = read("digits")["samples"]
    settings = kept["settings"]
    return (
        f"Digits, 16 px (`scripts/quickstart.sh`): {kept['label_accuracy']:.1%} of {kept['num_samples']:,} "
        f"samples ({settings['steps']} steps of {settings['sampler']}, guidance {settings['guidance']:g}) "
        f"show the digit that was asked for, says {kept['classifier']} "
        f"({kept['classifier_accuracy_on_held_out']:.1%} on held-out digits).\n"
    )


def fashion() -> str:
    """Samples of the shipped Fashion-MNIST model by three settings, beside real images."""
    names = {
        "16 ancestral steps, no guidance": "ancestral_1.0",
        "16 ancestral steps, guidance 1.5 (its default)": "ancestral_1.5",
        "16 MaskGIT steps, guidance 1.5": "confidence_1.5",
    }
    keys, rows = ("frechet_distance", "precision", "recall", "coverage", "intra_class_distance"), []
    for title, name in names.items():
        found = read(f"fashion_mnist_{name}")["samples"]
        values = [f"{found['fidelity'][key]:.2f}" for key in keys]
        rows.append([title, f"{found['label_accuracy']:.1%}", *values])
    real = found["fidelity_of_real_training_images"]
    accuracy = f"{found['classifier_accuracy_on_held_out']:.1%} (test images)"
    rows.append(["real training images", accuracy, *(f"{real[key]:.2f}" for key in keys)])
    columns = ["label accuracy", "Fréchet", "precision", "recall", "coverage", "spread in class"]
    return markdown(["2,000 samples", *columns], rows)


def samplers() -> str:
    """Fréchet distance and label accuracy of every sampler at every number of steps; the best distance of a
    column is bold."""
    kept = read("fashion_mnist_samplers")
    cells = {(row["name"], row["steps"]): row for row in kept["rows"]}
    columns = sorted({steps for _, steps in cells})
    best = {s: min(row["frechet_distance"] for row in kept["rows"] if row["steps"] == s) for s in columns}
    rows = []
    for name in dict.fromkeys(name for name, _ in cells):
        line = [name]
        for s in columns:
            row = cells.get((name, s))
            text = f"{row['frechet_distance']:.2f} / {row['label_accuracy']:.0%}" if row else ""
            line.append(f"**{text}**" if row and row["frechet_distance"] == best[s] else text)
        rows.append(line)
    return markdown(["sampler", *(f"{s} steps" for s in columns)], rows)


def exactness() -> str:
    """Which samplers draw from the model's own distribution, and how far off they are."""
    kept = read("sampler_exactness")
    cases = list(kept["distances"]["ancestral"])
    titles = {
        "absorbing": "masks",
        "hybrid": "masks, random codes",
        "uniform": "random codes",
        "absorbing, known": "masks; a code given",
        "hybrid, known": "masks, random codes; a code given",
        "uniform, known": "random codes; a code given",
        "hybrid, known, one level": "masks, random codes; a code given, one level per image",
        "absorbing, half": "masks; from t = 0.5",
        "hybrid, known, half": "masks, random codes; a code given, from t = 0.5",
        "uniform, known, half": "random codes; a code given, from t = 0.5",
    }
    rows = []
    for name, found in kept["distances"].items():
        own = [
            f"{setting} {value:g}" if isinstance(value, float) else f"{setting} {value}"
            for setting, value in (SAMPLERS[name]().settings() if name in SAMPLERS else {}).items()
            if setting in ("gumbel", "reveal", "eta")
        ]
        steps = max(map(int, next(iter(found.values()))))
        title = f"{name} ({', '.join(own)})" if own else name
        line = [title, "a token per step" if steps < 10 else f"{steps}"]
        for case in cases:
            distance = found.get(case, {}).get(str(steps))
            exact = (
                "yes"
                if distance is not None and distance < kept["bound"] * kept["floors"][case]
                else "**no**"
            )
            line.append("" if distance is None else f"{exact}, {distance:.3f}")
        rows.append(line)
    return markdown(["sampler (its own defaults)", "steps", *(titles[case] for case in cases)], rows)


def pixels() -> str:
    """Variational bounds of pixel-space Fashion-MNIST."""
    rows = []
    titles = {"absorbing": "absorbing", "hybrid": "hybrid (a tenth random)", "uniform": "uniform"}
    for name, title in titles.items():
        bound = read(f"fashion_mnist_pixels_{name}")["likelihood"]
        rows.append([title, f"{bound['bits_per_code']:.3f}", f"{bound['standard_error_bits_per_code']:.3f}"])
    return markdown(["process", "bits per dimension", "standard error"], rows)


def editing() -> str:
    """Halves of Fashion-MNIST test images completed: do they still show their class, and does the seam
    show?"""
    kept = read("editing_fashion_mnist")
    rows = []
    for name, row in kept["rows"].items():
        sides = [f"{row['accuracy_by_side'][side]:.1%}" for side in ("left", "right", "top", "bottom")]
        rows.append([name, f"{row['accuracy']:.1%}", *sides, f"{row['seam_ratio']:.2f}"])
    table = markdown(["the hidden half", "label accuracy", "left", "right", "top", "bottom", "seam"], rows)
    settings = f"{kept['steps']} steps of {kept['sampler']}, guidance {kept['guidance']:g}"
    return f"{table}\n{kept['num_images']} images, no label given, {settings}, {kept['precision']}.\n"


def receptive() -> str:
    """Share of codes that a filled hole changes, by distance from it."""
    rows = []
    for row in read("editing_receptive")["rows"]:
        name = f"{Path(row['tokenizer']).parent.name}, {row['image_size'][0]} px f{row['downsampling']}"
        for shape, title in (("boxes", "boxes"), ("halves", "right half")):
            shares = ["" if share is None else f"{share:.0%}" for share in row[shape]["shares"]]
            rows.append([f"{name}, {title}", *shares, str(row[shape]["ring"])])
    return markdown(["tokenizer, hole", "1 cell", "2", "3", "4", "further", "ring"], rows)


def tutorial() -> str:
    """What evaluate says of the tutorial's model, beside real images."""
    if not (RESULTS / "tutorial.json").is_file():
        return NONE
    kept = read("tutorial")["evaluation"]
    samples, real = kept["samples"]["fidelity"], kept["samples"]["fidelity_of_real_training_images"]
    measures = ("frechet_distance", "precision", "recall", "coverage")
    names = [name for name in measures if name in samples and name in real]
    rows = [[name.replace("_", " "), f"{samples[name]:.2f}", f"{real[name]:.2f}"] for name in names]
    shown, of_real = kept["samples"]["label_accuracy"], kept["samples"]["classifier_accuracy_on_held_out"]
    rows.insert(0, ["label accuracy", f"{shown:.1%}", f"{of_real:.1%} (held out)"])
    tokenizer = kept["tokenizer"]
    codes = f"{tokenizer['codes_used']:.0f} of {tokenizer['num_codes']} codes used"
    table = markdown([f"{kept['samples']['num_samples']} samples", "samples", "real images"], rows)
    return f"{table}\nReconstructions: PSNR {tokenizer['psnr_db']:.1f} dB, {codes}.\n"


def tutorial_seconds() -> str:
    """Seconds of every command of the tutorial."""
    if not (RESULTS / "tutorial.json").is_file():
        return NONE
    kept = read("tutorial")
    rows = [[f"`{name}`", f"{seconds:,.0f}"] for name, seconds in kept["seconds"].items()]
    whole, machine = sum(kept["seconds"].values()), kept["evaluation"]["machine"]
    on = f"{machine['processor']}, {threads(machine)}, GPU: {machine['gpu']}, {torch_version(machine)}"
    rows.append(["together", f"{whole:,.0f}"])
    table = markdown(["command, with its start (training without)", "seconds"], rows)
    return table + f"\n{whole / 60:.0f} minutes. {on}.\n"


TABLES = {
    "digits": digits,
    "fashion": fashion,
    "samplers": samplers,
    "exactness": exactness,
    "pixels": pixels,
    "editing": editing,
    "receptive": receptive,
    "tutorial": tutorial,
    "tutorial_seconds": tutorial_seconds,
}
