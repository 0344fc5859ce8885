"""``d3pm-image package MODEL``: a model as a folder to give away: half precision, a model card, samples; and onto the hub if asked."""

from __future__ import annotations

import dataclasses
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..config import ConfigError, need
from ..documents import Missing, read_text, read_yaml
from ..outputs import new_folder
from ..printable import printable
from .options import OutputOptions
from .parsing import parse

COLUMNS, ROWS = 10, 3
PRIVATE = ("root", "val_root")  # folders of this machine


@dataclass(frozen=True, kw_only=True)
class Package(OutputOptions):
    """Make a folder to give away of a trained model: weights in half precision, a model card from what the model remembers, samples.

    Args:
        model: Model folder, or the run that trained it.
        out: Folder to write. Where it holds a model already, that one stays and the new one gets the next free number, unless overwrite is given.
        name: Title of the card, and what others load it as. Default: the hub name, or that of the folder.
        licence: Licence of the weights, as the hub names it (apache-2.0, mit, cc-by-4.0).
        note: A paragraph for the card: where the data comes from, what the model is for.
        tokenizer: Tokenizer to give away in place of the model's own, one that gives the same codes: made by train-tokenizer with start_from MODEL and learn decoder.
        evaluation: Result file of d3pm-image evaluate --out for this model; its figures go into the card.
        half: Write weights in half precision.
        push: Hub repository (OWNER/NAME) to upload the folder to; needs a login.
        private: Make that repository a private one.
        device: auto, cpu or cuda, for the samples.
    """

    model: str
    out: str
    name: str = ""
    licence: str = "apache-2.0"
    note: str = ""
    tokenizer: str = ""
    evaluation: str = ""
    half: bool = True
    push: str = ""
    private: bool = False
    device: str = "auto"

    def __post_init__(self):
        need(bool(self.out), "out", self.out, "name a folder")
        need(bool(self.licence.strip()), "licence", self.licence, "name one, such as apache-2.0")


def main(arguments: list[str]) -> None:
    """Parse and run."""
    run(parse("package", Package, arguments, {"model": "Model folder, or the run that trained it."}))


def run(args: Package) -> None:
    """Write the folder, and upload it if asked.

    Raises:
        ConfigError: wrong input; nothing is written then.
    """
    from ..pipeline import Pipeline
    from ..storage import sha256
    from ..tokenizer.folder import find
    from .options import pick_device

    place = find(args.model, "pipeline", "model")
    out = Path(args.out).expanduser()
    need(not out.exists() or out.is_dir(), "out", args.out, "is a file; name a folder")
    pipe = Pipeline.from_pretrained(place, pick_device(args.device))
    if args.tokenizer:
        replace_tokenizer(pipe, args.tokenizer, args.model)
    facts = remembered(pipe.facts, Path(args.model).expanduser())
    if args.evaluation:
        parts = {"denoiser": place / "denoiser", "tokenizer": find(args.tokenizer or place, "tokenizer", "tokenizer")}
        facts["evaluation"] = evaluation(args.evaluation, {part: sha256(folder / "model.safetensors") for part, folder in parts.items()})
    pipe.facts = facts
    if args.overwrite:
        check_free(out, args.out)
        write(args, pipe, out, out.resolve().name)
    else:
        with new_folder(out) as files:
            write(args, pipe, files.draft, files.path.name)
        out = files.path
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{printable(out, 0)}: {size / 1e6:.1f} MB, with a model card (README.md) and samples")
    if args.push:
        from ..hub import push

        print(f"uploaded: {push(out, args.push, args.private)}")


def check_free(out: Path, name: str) -> None:
    """Raises ConfigError where the folder holds other files than a model's, or a README.md that is not a model card of this program."""
    from ..tokenizer.folder import folder_for

    if not out.is_dir():
        return
    foreign = any(out.iterdir()) and not (out / "config.json").is_file()
    need(not foreign, "out", name, "holds other files; name a new folder, or one that holds a model")
    folder_for(out, "pipeline")
    with suppress(Missing):
        own = "library_name: d3pm-image" in read_text(out / "README.md")[:2000]
        need(own, "out", name, "holds a README.md that is no model card of this program and would be lost; move it, or name a new folder")


def write(args: Package, pipe: Any, out: Path, name: str) -> None:
    """The model, its card and samples into a folder; ``name`` is the card's title where none is given."""
    from ..pipeline import Pipeline
    from .options import pick_device

    with TemporaryDirectory() as scratch:  # samples are drawn by the weights that are given away
        given = Pipeline.from_pretrained(pipe.save_pretrained(scratch, half=args.half), pick_device(args.device))
    card, picture = card_of(given, args.name or args.push or name, args.licence, args.note, args.half), samples(given)
    given.to("cpu").save_pretrained(out, half=args.half, files={"README.md": card, "samples.jpg": picture})


def replace_tokenizer(pipe: Any, tokenizer: str, model: str) -> None:
    """Give a model another decoder, in place, and forget what was measured with the old one.

    Raises:
        ConfigError: no tokenizer there, or one whose codes are not the model's.
    """
    from ..recipes.finetune import same_codes
    from ..tokenizer import load_tokenizer

    network, info = load_tokenizer(tokenizer)
    mend = (
        f"gives other codes than the tokenizer of {model}, so its denoiser does not fit: train it with start_from {model} and learn decoder"
    )
    need(same_codes(network, pipe.tokenizer), "tokenizer", tokenizer, mend)
    pipe.tokenizer = network.to(pipe.device)
    pipe.facts = {name: value for name, value in pipe.facts.items() if name != "evaluation"} | {"tokenizer": info.facts}


def remembered(facts: dict[str, Any], run: Path) -> dict[str, Any]:
    """A model's facts without this machine's folders; what an older model does not remember is read from its run, if that is what was named."""
    from ..recipes.run_summary import training_facts

    kept = dict(facts)
    tokenizer = dict(kept.get("tokenizer") or {})
    if "training" not in kept and (found := training_facts(run, "train-diffusion")):
        kept["training"] = found
    if "training" not in tokenizer and (found := training_facts(tokenizer_run(run), "train-tokenizer")):
        tokenizer["training"] = found
    for holder in (kept, tokenizer):
        if "data" in holder:
            holder["data"] = holder["data"] | {key: Path(holder["data"].get(key, "")).name for key in PRIVATE}
    return kept | ({"tokenizer": tokenizer} if tokenizer else {})


def tokenizer_run(run: Path) -> Path:
    """Folder of the tokenizer's run, as a run of stage two names it; a folder that is not there where it does not."""
    try:
        return Path(read_yaml(run / "config.yaml")["tokenizer"]).expanduser()
    except (ValueError, KeyError, TypeError, RuntimeError):
        return run / "no tokenizer"


def evaluation(path: str, digests: dict[str, str]) -> dict[str, Any]:
    """What a result file says of a model's samples.

    Args:
        digests: Hashes of the weights by part, denoiser and tokenizer.

    Raises:
        ConfigError: the file is not an evaluation of samples of this very model.
    """
    from ..evaluation.results import read_result
    from ..provenance.record import model_name

    try:
        found = read_result(path)
    except ConfigError as error:
        raise ConfigError("evaluation", path, str(error).split(": ", 1)[-1]) from error
    need("samples" in found, "evaluation", path, "has no samples; evaluate with --num-samples over 0")
    mend = "is of a model with other weights (half precision changes them: evaluate the packaged folder itself, then package it again)"
    for part, digest in digests.items():
        need(found.get(f"{part}_sha256", digest) == digest, "evaluation", path, mend)
    # a command may name folders of this machine
    command = shlex.join(model_name(word) for word in shlex.split(str(found["command"])))
    return {name: found[name] for name in ("samples", "code", "machine")} | {"command": command}


def card_of(pipe: Any, name: str, licence: str, note: str, half: bool) -> str:
    """The model card of a pipeline."""
    from ..model_card import model_card

    parameters = {part: sum(p.numel() for p in getattr(pipe, part).parameters()) for part in ("tokenizer", "denoiser")}
    model = {
        "image_size": pipe.image_size, "channels": pipe.tokenizer.channels, "grid": pipe.grid, "codes": pipe.tokenizer.num_codes,
        "classes": list(pipe.class_names), "parameters": parameters, "sampler": dataclasses.asdict(pipe.sampler), "half": half,
    }  # fmt: skip
    return model_card(name, pipe.facts, model, licence, note, "samples.jpg")


def samples(pipe: Any) -> bytes:
    """JPEG of a grid of samples, a class a column where there are few."""
    import io

    from ..imaging import enlarge, grid_image

    columns = len(pipe.class_names) if 2 <= len(pipe.class_names) <= COLUMNS else COLUMNS
    images = pipe.generate(columns * ROWS, seed=0)
    buffer = io.BytesIO()
    grid_image([enlarge(i) for i in images], columns).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
