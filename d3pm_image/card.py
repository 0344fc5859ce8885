"""The model card: what a model is, what it was trained on, how, how good it is, and where it ends (Mitchell et al. 2019).

Everything comes from what the model itself remembers (its facts), so that a card says nothing that nobody measured. The head is the metadata
block that the hub reads.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

LIMITS = (
    "It knows the images of its training data, at their size, and nothing else; what those leave out or show one-sidedly, it does too. "
    "Its figures hold for the sampler and the features named beside them."
)


def model_card(name: str, facts: dict[str, Any], model: dict[str, Any], licence: str, note: str = "", picture: str = "") -> str:
    """Markdown of a model card.

    Args:
        name: Title, and what ``from_pretrained`` is called with.
        facts: What the model remembers: ``data``, ``training``, ``tokenizer``, ``validation``, ``evaluation``; each may be missing.
        model: Sizes: ``image_size``, ``channels``, ``grid``, ``codes``, ``classes`` (names), ``parameters`` by part, ``sampler`` (settings), ``half``.
        licence: Identifier of the licence of the weights, such as apache-2.0.
        note: A paragraph of the author's.
        picture: File name of the samples, beside the card; empty for none.
    """
    height, width = model["image_size"]
    parts = [head(facts, licence), f"# {name}\n", opening(name, facts, model, height, width)]
    parts += [f"![samples]({picture})\n"] if picture else []
    parts += [f"{note}\n"] if note else []
    parts += [usage(name, model), training(facts), scores(facts)]
    classes = f"\nClasses: {', '.join(model['classes'])}.\n" if model["classes"] else ""
    parts += [f"## Limits\n\n{LIMITS}{' Weights are in half precision.' if model['half'] else ''}\n{classes}", f"## Licence\n\n{licence}\n"]
    return "\n".join(part for part in parts if part)


def head(facts: dict[str, Any], licence: str) -> str:
    """The metadata block that the hub reads."""
    data = facts.get("data", {}).get("source", "")
    fields: dict[str, Any] = {
        "license": licence,
        "library_name": "d3pm-image",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["discrete-diffusion", "d3pm", "maskgit", "vq-vae", "inpainting"],
    }
    if data not in ("", "folder", "shards"):
        fields["datasets"] = [data]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n"


def opening(name: str, facts: dict[str, Any], model: dict[str, Any], height: int, width: int) -> str:
    """What the model is."""
    kind = "class-conditional" if model["classes"] else "unconditional"
    rows, columns = model["grid"]
    counts = ", ".join(f"{part} {count / 1e6:.1f}M" for part, count in model["parameters"].items())
    return (
        f"A {kind} generator of {height}×{width} {'grey' if model['channels'] == 1 else 'colour'} images: a tokenizer makes {rows}×{columns} codes of "
        f"{model['codes']}, a bidirectional transformer trained with the uniform + absorbing D3PM loss (Austin et al. 2021) generates them in "
        f"parallel. Parameters: {counts}.\n"
    )


def usage(name: str, model: dict[str, Any]) -> str:
    """How it is used."""
    first = ", ".join(json.dumps(name, ensure_ascii=False) for name in model["classes"][:2])
    labels = f", labels=[{first}]" if len(model["classes"]) > 1 else ""
    return (
        f"## Use\n\n```bash\nd3pm-image generate {name} --num-images 16 --out grid.png\nd3pm-image inpaint {name} picture.png mask.png\n```\n\n"
        f'```python\nfrom d3pm_image import Pipeline\n\npipe = Pipeline.from_pretrained("{name}")\nimages = pipe.generate(16{labels}, seed=7)\n```\n'
    )


def training(facts: dict[str, Any]) -> str:
    """How both stages were trained."""
    data, lines = facts.get("data", {}), ["## Training\n"]
    if data:
        sides = data.get("image_size")
        size = f", {sides[0]}×{sides[1]} pixels" if isinstance(sides, (list, tuple)) else ""
        labels = ", with labels" if data.get("labels") else ""
        lines.append(f"Data: {data.get('source', 'unknown')}{size}{labels}{', mirrored at random' if data.get('flip') else ''}.\n")
    for title, stage, scored in (
        ("Tokenizer", facts.get("tokenizer") or {}, ("mse", "psnr", "psnr_db", "codes_used", "perplexity")),
        ("Denoiser", facts, ("bits_per_code", "accuracy")),
    ):
        found = stage.get("validation", {})
        figures = ", ".join(f"{key.replace('_', ' ')} {found[key]:.4g}" for key in scored if key in found)
        made = stage.get("training", {})
        if made:
            seconds = f", {made['seconds']:,.0f} s" if made.get("seconds") else ""
            machine = made.get("machine", {})
            on = f" on {machine['processor']}, {machine['threads']} thread(s), GPU: {machine['gpu']}" if machine else ""
            begun = origin(made.get("started_from"))
            lines.append(f"{title}: {made.get('steps', '?')} steps{seconds}{on}{begun}.{f' Held out: {figures}.' if figures else ''}\n")
            if made.get("settings"):
                lines.append(
                    f"```yaml\n# d3pm-image {made['command']} --config FILE\n{yaml.safe_dump(made['settings'], sort_keys=False, width=110)}```\n"
                )
        elif figures:
            lines.append(f"{title}, held out: {figures}.\n")
    return "\n".join(lines) if len(lines) > 1 else ""


def origin(started: dict[str, Any] | None) -> str:
    """What trained weights a training began with."""
    if started is None:
        return ""
    model = started.get("model") or "another model"
    trained = f" ({started['steps']} steps on {started.get('data', 'other images')})" if "steps" in started else ""
    part = "; its decoder alone learnt" if started.get("learnt") == "decoder" else ""
    return f", begun with the weights of {model}{trained}{origin(started.get('started_from'))}{part}"


def scores(facts: dict[str, Any]) -> str:
    """The figures of an evaluation, as ``d3pm-image evaluate --out`` wrote them."""
    found = facts.get("evaluation")
    if not found:
        return ""
    samples, settings = found["samples"], found["samples"]["settings"]
    rows = [("label accuracy", f"{samples['label_accuracy']:.1%}", f"{samples['judge_accuracy_on_held_out']:.1%} (held-out images)")] if "label_accuracy" in samples else []  # fmt: skip
    real = samples["fidelity_of_real_training_images"]
    for key in ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"):
        rows.append((key.replace("_", " "), f"{samples['fidelity'][key]:.3g}", f"{real[key]:.3g}"))
    table = "".join(f"| {' | '.join(row)} |\n" for row in (("", "samples", "real training images"), ("---", "---:", "---:"), *rows))
    return (
        f"## Scores\n\n{samples['num_samples']} samples, {settings['sampler']}, {settings['steps']} steps, guidance {settings['guidance']:g}, "
        f"seed {samples['seed']}, {samples['precision']}; features: {samples['features']['network']}; against {samples['reference']['images']} "
        f"{samples['reference']['set'].replace('_', '-')} images. `{found['command']}`\n\n{table}"
    )
