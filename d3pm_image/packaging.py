"""A model folder for sharing: weights in half precision, a model card from the model's metadata, samples."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .config import ConfigError, check
from .config.package import PackageConfig
from .documents import Missing, read_text, read_yaml
from .evaluation.results import read_result
from .imaging import for_viewing, grid_image
from .model_card import model_card
from .outputs import folder_to_write, new_folder
from .pipeline import Pipeline
from .provenance.record import model_name
from .recipes.finetune import same_codes
from .recipes.run_summary import training_facts
from .storage import sha256
from .tokenizer import load_tokenizer
from .tokenizer.folder import find, folder_for

COLUMNS, ROWS = 10, 3
PRIVATE = ("root", "val_root")  # folders of this machine
ABSOLUTE = re.compile(r"(/|~|[A-Za-z]:[\\/]|\\\\)")


def package(asked: PackageConfig, device: str = "cpu", overwrite: bool = False) -> Path:
    """Write a model, its card and samples into a folder; returns that folder.

    Args:
        overwrite: Replace an existing model; by default the new one gets the next free number.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    place = find(asked.model, "pipeline", "model")
    folder = folder_to_write(asked.out)
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / "config.json").is_file()
    check(not foreign, "out", asked.out, "holds other files; name a new folder, or one that holds a model")
    pipe = Pipeline.from_pretrained(place, device)
    if asked.tokenizer:
        replace_tokenizer(pipe, asked.tokenizer, asked.model)
    metadata = remembered(pipe.metadata, Path(asked.model).expanduser())
    if asked.evaluation:
        parts = {
            "denoiser": place / "denoiser",
            "tokenizer": find(asked.tokenizer or place, "tokenizer", "tokenizer"),
        }
        digests = {part: sha256(of / "model.safetensors") for part, of in parts.items()}
        metadata["evaluation"] = evaluated(asked.evaluation, digests)
    pipe.metadata = metadata
    if overwrite:
        check_free(folder, asked.out)
        write(pipe, folder, asked.name or asked.push or folder.resolve().name, asked)
        return folder
    with new_folder(folder) as files:
        write(pipe, files.draft, asked.name or asked.push or files.path.name, asked)
    return files.path


def check_free(out: Path, name: str) -> None:
    """Raises ConfigError where a folder holds another kind of model, or a README.md that is not a model card
    of this program."""
    if not out.is_dir():
        return
    folder_for(out, "pipeline")
    with suppress(Missing):
        own = "library_name: d3pm-image" in read_text(out / "README.md")[:2000]
        hint = (
            "holds a README.md that is not a model card of this program and would be lost; move it, or name a"
            " new folder"
        )
        check(own, "out", name, hint)


def write(pipe: Pipeline, out: Path, name: str, asked: PackageConfig) -> None:
    """The model, its card and samples into a folder; ``name`` is the card's title."""
    with TemporaryDirectory() as scratch:  # samples are drawn with the packaged weights
        given = Pipeline.from_pretrained(pipe.save_pretrained(scratch, half=asked.half), pipe.device)
    files: dict[str, str | bytes] = {
        "README.md": card_of(given, name, asked.licence, asked.note, asked.half),
        "samples.jpg": samples(given),
    }
    given.to("cpu").save_pretrained(out, half=asked.half, files=files)


def replace_tokenizer(pipe: Pipeline, tokenizer: str, model: str) -> None:
    """Give a model another decoder, in place, and drop measures of the old one.

    Raises:
        ConfigError: no tokenizer there, or one whose codes are not the model's.
    """
    network, info = load_tokenizer(tokenizer)
    hint = (
        f"gives other codes than the tokenizer of {model}, so its denoiser does not fit: train it with"
        f" start_from {model} and learn decoder"
    )
    check(same_codes(network, pipe.tokenizer), "tokenizer", tokenizer, hint)
    pipe.tokenizer = network.to(pipe.device)
    pipe.metadata = {name: value for name, value in pipe.metadata.items() if name != "evaluation"} | {
        "tokenizer": info.metadata
    }


def remembered(metadata: dict[str, Any], run: Path) -> dict[str, Any]:
    """A model's metadata without folders of this machine; missing parts of older models are read from their
    run, if a run was named."""
    kept = dict(metadata)
    tokenizer = dict(kept.get("tokenizer") or {})
    if "training" not in kept and (found := training_facts(run)):
        kept["training"] = found
    if "training" not in tokenizer and (found := training_facts(tokenizer_run(run))):
        tokenizer["training"] = found
    for holder in (kept, tokenizer):
        if "data" in holder:
            holder["data"] = holder["data"] | {key: Path(holder["data"].get(key, "")).name for key in PRIVATE}
    return without_folders(kept | ({"tokenizer": tokenizer} if tokenizer else {}))


def without_folders(value: Any) -> Any:
    """The same values at any depth, absolute paths shortened to their last part: files of labels or weights
    that a training read."""
    if isinstance(value, dict):
        return {key: without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str) and ABSOLUTE.match(value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def tokenizer_run(run: Path) -> Path:
    """Folder of the tokenizer's run, as a run of stage two names it; a missing folder if it does not name
    one."""
    try:
        return Path(read_yaml(run / "config.yaml")["tokenizer"]).expanduser()
    except (ValueError, KeyError, TypeError, RuntimeError):
        return run / "no tokenizer"


def evaluated(path: str, digests: dict[str, str]) -> dict[str, Any]:
    """Scores of a model's samples in a result file.

    Args:
        digests: Hashes of the weights by part, denoiser and tokenizer.

    Raises:
        ConfigError: the file is not an evaluation of samples of this very model.
    """
    try:
        found = read_result(path)
    except ConfigError as error:
        raise ConfigError("evaluation", path, str(error).split(": ", 1)[-1]) from error
    check("samples" in found, "evaluation", path, "has no samples; evaluate with --num-samples over 0")
    hint = (
        "is of a model with other weights (half precision changes them: evaluate the packaged folder itself,"
        " then package it again)"
    )
    for part, digest in digests.items():
        check(found.get(f"{part}_sha256", digest) == digest, "evaluation", path, hint)
    # a command may name folders of this machine
    command = shlex.join(model_name(word) for word in shlex.split(str(found["command"])))
    return {name: found[name] for name in ("samples", "code", "machine")} | {"command": command}


def card_of(pipe: Pipeline, name: str, licence: str, note: str, half: bool) -> str:
    """The model card of a pipeline."""
    parameters = {
        part: sum(p.numel() for p in getattr(pipe, part).parameters()) for part in ("tokenizer", "denoiser")
    }
    model = {
        "image_size": pipe.image_size, "channels": pipe.tokenizer.channels, "grid": pipe.grid,
        "codes": pipe.tokenizer.num_codes,
        "classes": pipe.class_names, "parameters": parameters, "half": half,
    }  # fmt: skip
    return model_card(name, pipe.metadata, model, licence, note, "samples.jpg")


def samples(pipe: Pipeline) -> bytes:
    """JPEG of a grid of samples, one class per column where there are few."""
    columns = len(pipe.class_names) if 2 <= len(pipe.class_names) <= COLUMNS else COLUMNS
    images = pipe.generate(columns * ROWS, seed=0)
    buffer = io.BytesIO()
    grid_image([for_viewing(i) for i in images], columns).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
