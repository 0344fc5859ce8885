"""The model card: what a model is, its training data and settings, scores and limits (Mitchell et al. 2019).

Everything comes from the model's metadata, so that a card has only measured scores. The head is the metadata
block that the hub reads. Metadata is not trusted: its texts are escaped in HTML and Markdown.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from .config.data import KINDS
from .label_sets import listed, sets_of
from .labels import every_label
from .printable import printable, printable_html

LIMITS = (
    "It generates images like those of its training data, at their size; what these lack or show"
    " one-sidedly, it does too. Its scores hold for the sampler and the features named beside them."
)


def model_card(
    name: str, metadata: dict[str, Any], model: dict[str, Any], licence: str, note: str = "", image: str = ""
) -> str:
    """Markdown of a model card.

    Args:
        name: Title, and argument of ``from_pretrained``.
        metadata: The model's metadata: ``data``, ``training``, ``tokenizer``, ``validation``,
            ``evaluation``; each may be missing.
        model: Sizes: ``image_size``, ``channels``, ``grid``, ``codes``, ``classes`` (names), ``parameters``
            by part, ``half``.
        licence: Identifier of the licence of the weights, such as apache-2.0.
        note: A paragraph by the author.
        image: File name of the samples, beside the card; empty for none.
    """
    height, width = model["image_size"]
    parts = [
        head(metadata, licence),
        f"# {printable_html(name)}\n",
        opening(name, metadata, model, height, width),
    ]
    parts += [f"![samples]({image})\n"] if image else []
    parts += [f"{note}\n"] if note else []
    parts += [usage(name, model), training(metadata), scores(metadata)]
    kind = "Classes" if sets_of(model["classes"]) is None else "Labels"
    classes = f"\n{kind}: {listed(model['classes'], printable_html)}.\n" if model["classes"] else ""
    parts += [
        f"## Limits\n\n{LIMITS}{' Weights are in half precision.' if model['half'] else ''}\n{classes}",
        f"## Licence\n\n{licence}\n",
    ]
    return "\n".join(part for part in parts if part)


def head(metadata: dict[str, Any], licence: str) -> str:
    """The metadata block that the hub reads."""
    data = table(metadata.get("data")).get("source", "")
    fields: dict[str, Any] = {
        "license": licence,
        "library_name": "d3pm-image",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["discrete-diffusion", "d3pm", "maskgit", "vq-vae", "inpainting"],
    }
    if data not in ("", "folder", "shards"):
        fields["datasets"] = [printable(data)]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---\n"


def table(value: Any) -> dict[str, Any]:
    """A part of the metadata; empty if it is of another type."""
    return value if isinstance(value, dict) else {}


def figure(value: Any, form: str) -> str:
    """A number in some format; anything else as a text."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return format(value, form) if number else printable_html(value)


def block(kind: str, text: str) -> str:
    """Text between fences that nothing in it closes."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{kind}\n{text}{fence}\n"


def opening(name: str, metadata: dict[str, Any], model: dict[str, Any], height: int, width: int) -> str:
    """Section: what the model is."""
    kind = "class-conditional" if model["classes"] else "unconditional"
    rows, columns = model["grid"]
    counts = ", ".join(f"{part} {count / 1e6:.1f}M" for part, count in model["parameters"].items())
    return (
        f"A {kind} generator of {height}×{width} {KINDS[model['channels']]} images: a"
        f" tokenizer makes {rows}×{columns} codes of {model['codes']}, a bidirectional transformer trained"
        " with the uniform + absorbing D3PM loss (Austin et al. 2021) generates them in parallel."
        f" Parameters: {counts}.\n"
    )


def usage(name: str, model: dict[str, Any]) -> str:
    """Section: use."""
    names = [model["classes"][number] for number in every_label(model["classes"])[:2]]
    names = names[: 1 if len("".join(names)) > 50 else 2]  # combinations of label sets are long
    first = ", ".join(json.dumps(label, ensure_ascii=printable(label, 0) != label) for label in names)
    name = printable(name)
    labels = f", labels=[{first}]" if len(model["classes"]) > 1 else ""
    shell = (
        f"d3pm-image generate {name} --num-images 16 --out grid.png\nd3pm-image inpaint {name} image.png"
        " mask.png\n"
    )
    python = (
        f'from d3pm_image import Pipeline\n\npipe = Pipeline.from_pretrained("{name}")\nimages ='
        f" pipe.generate(16{labels}, seed=7)\n"
    )
    return f"## Use\n\n{block('bash', shell)}\n{block('python', python)}"


def training(metadata: dict[str, Any]) -> str:
    """Section: training of both stages."""
    data, lines = table(metadata.get("data")), ["## Training\n"]
    if data:
        sides = data.get("image_size")
        size = (
            f", {figure(sides[0], '')}×{figure(sides[1], '')} pixels"
            if isinstance(sides, (list, tuple)) and len(sides) == 2
            else ""
        )
        labels = ", with labels" if data.get("labels") else ""
        source = printable_html(data.get("source", "unknown"))
        lines.append(f"Data: {source}{size}{labels}{', mirrored at random' if data.get('flip') else ''}.\n")
    lines += stage(
        "Tokenizer", table(metadata.get("tokenizer")), ("mse", "psnr", "psnr_db", "codes_used", "perplexity")
    )
    lines += stage("Denoiser", metadata, ("bits_per_code", "accuracy"))
    return "\n".join(lines) if len(lines) > 1 else ""


def stage(title: str, metadata: dict[str, Any], scored: tuple[str, ...]) -> list[str]:
    """Training and scores of one stage."""
    found, made, lines = table(metadata.get("validation")), table(metadata.get("training")), []
    figures = ", ".join(
        f"{key.replace('_', ' ')} {figure(found[key], '.4g')}" for key in scored if key in found
    )
    if made:
        seconds = f", {figure(made['seconds'], ',.0f')} s" if made.get("seconds") else ""
        machine = {name: printable_html(value) for name, value in table(made.get("machine")).items()}
        on = (
            f" on {machine.get('processor')}, {machine.get('threads')} thread(s), GPU: {machine.get('gpu')}"
            if machine
            else ""
        )
        begun = origin(made.get("started_from"))
        held_out = f" Held out: {figures}." if figures else ""
        lines.append(
            f"{title}: {printable_html(made.get('steps', '?'))} steps{seconds}{on}{begun}.{held_out}\n"
        )
        if made.get("settings"):
            settings = yaml.safe_dump(made["settings"], sort_keys=False, width=110)
            lines.append(
                block("yaml", f"# d3pm-image {printable(made.get('command', ''))} --config FILE\n{settings}")
            )
    elif figures:
        lines.append(f"{title}, held out: {figures}.\n")
    return lines


def origin(started: Any) -> str:
    """Trained weights that a training began with."""
    if not isinstance(started, dict):
        return ""
    model = printable_html(started.get("model") or "another model")
    steps, data = printable_html(started.get("steps")), printable_html(started.get("data", "other images"))
    trained = f" ({steps} steps on {data})" if "steps" in started else ""
    parts = {"decoder": "; its decoder alone learnt", "context": "; its context branch alone learnt"}
    part = parts.get(str(started.get("learnt")), "")
    return f", begun with the weights of {model}{trained}{origin(started.get('started_from'))}{part}"


def scores(metadata: dict[str, Any]) -> str:
    """Scores of an evaluation, as ``d3pm-image evaluate --out`` wrote them; empty for other content."""
    found = table(metadata.get("evaluation"))
    samples = table(found.get("samples"))
    settings, given, real = (
        table(samples.get(name)) for name in ("settings", "fidelity", "fidelity_of_real_training_images")
    )
    if not (settings and given and real):
        return ""
    rows = []
    if "label_accuracy" in samples:
        held_out = f"{figure(samples.get('classifier_accuracy_on_held_out'), '.1%')} (held-out images)"
        rows.append(("label accuracy", figure(samples["label_accuracy"], ".1%"), held_out))
    for key in ("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage"):
        rows.append((key.replace("_", " "), figure(given.get(key), ".3g"), figure(real.get(key), ".3g")))
    lines = "".join(
        f"| {' | '.join(row)} |\n"
        for row in (("", "samples", "real training images"), ("---", "---:", "---:"), *rows)
    )
    reference = table(samples.get("reference"))
    said = {
        name: printable_html(value)
        for name, value in (samples | settings).items()
        if isinstance(value, (str, int, float))
    }
    against = (
        f"{printable_html(reference.get('images'))}"
        f" {printable_html(str(reference.get('set')).replace('_', '-'))} images"
    )
    command = printable(found.get("command", ""), 1000).replace("`", "'")
    return (
        f"## Scores\n\n{said.get('num_samples')} samples, {said.get('sampler')}, {said.get('steps')} steps,"
        f" guidance {figure(settings.get('guidance'), 'g')}, seed {said.get('seed')},"
        f" {said.get('precision')}; features:"
        f" {printable_html(table(samples.get('features')).get('network'))}; against {against}."
        f" `{command}`\n\n{lines}"
    )
