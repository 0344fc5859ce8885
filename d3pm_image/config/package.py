"""Settings of a model folder for sharing."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import check


@dataclass(frozen=True, kw_only=True)
class PackageConfig:
    """Export a model as a folder for sharing.

    Args:
        model: Model folder, or the run that trained it.
        out: Folder to write. If it has a model already, the new one gets the next free number, unless
            overwrite is given.
        name: Title of the card, and name by which it is loaded. Default: the hub name, or that of the folder.
        licence: Licence of the weights, as the hub names it (apache-2.0, mit, cc-by-4.0).
        note: A paragraph for the card: where the data comes from, what the model is for.
        tokenizer: Tokenizer to use in place of the model's own, with the same codes: made by train-tokenizer
            with start_from MODEL and learn decoder.
        evaluation: Result file of d3pm-image evaluate --out for this model; its scores go into the card.
        half: Write weights in half precision.
        push: Hub repository (OWNER/NAME) to upload the folder to; needs a login.
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

    def __post_init__(self) -> None:
        check(bool(self.out), "out", self.out, "name a folder")
        check(bool(self.licence.strip()), "licence", self.licence, "name one, such as apache-2.0")
