"""``chosen.json`` of a run: the request, the measurements and the choices, with which an interrupted training
continues."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import ConfigError, DataConfig, DiffusionRun, TokenizerRun, check
from ...config.own_images import OwnImages
from ...documents import Missing, Unreadable, read_json
from ...storage import write_text
from ..arguments import filled
from .budget import Costs
from .choice import Chosen, Reason
from .subject import Seen

NAME = "chosen.json"
OF_THIS_START = ("out", "resume", "open", "minutes")
"""Settings that may differ when a training is resumed."""


@dataclass(frozen=True)
class Kept:
    """State from which a training is resumed.

    Args:
        asked: The request.
        data: Where the images are.
        seen: Properties of the images.
        costs: Seconds of a step.
        chosen: Both runs.
    """

    asked: OwnImages
    data: DataConfig
    seen: Seen
    costs: Costs
    chosen: Chosen


def keep(out: Path, state: Kept) -> None:
    """Write it."""
    write_text(out / NAME, json.dumps(dataclasses.asdict(state), indent=1) + "\n")


def kept(out: Path, asked: OwnImages, data: DataConfig) -> Kept | None:
    """Choices of an earlier training in a folder, to resume it; None if there was none.

    Raises:
        ConfigError: there was one and ``resume`` is not set; or other settings or images were requested then.
    """
    try:
        raw = read_json(out / NAME)
    except Missing:
        return None
    except Unreadable as error:
        raise ConfigError("out", str(out), f"{error}; choose another folder") from error
    hint = "holds an earlier training; add --resume true to go on with it, or choose another folder"
    check(asked.resume, "out", str(out), hint)
    try:
        state = read(raw)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        hint = f"its {NAME} does not fit this version; choose another folder"
        raise ConfigError("out", str(out), hint) from error
    for item in dataclasses.fields(asked):
        now, was = getattr(asked, item.name), getattr(state.asked, item.name)
        same = item.name in OF_THIS_START or now in (was, item.default)
        hint = f"the training in {out} was begun with {was!r}; leave it out, or choose another out"
        check(same, item.name, now, hint)
    mine, theirs = ((d.source, d.root, d.name) for d in (data, state.data))
    hint = f"the training in {out} was begun with {' '.join(filter(None, theirs))}; choose another out"
    check(mine == theirs, "data", " ".join(filter(None, mine)), hint)
    return state


def read(raw: dict[str, Any]) -> Kept:
    """What :func:`keep` wrote. Raises ConfigError, LookupError or TypeError for anything else."""
    chosen = raw["chosen"]
    return Kept(
        filled(OwnImages(), raw["asked"], ""),
        filled(DataConfig(), raw["data"], "data."),
        Seen(**raw["seen"]),
        Costs(**raw["costs"]),
        Chosen(
            filled(TokenizerRun(), chosen["tokenizer"], ""),
            filled(DiffusionRun(), chosen["diffusion"], ""),
            tuple(Reason(**reason) for reason in chosen["reasons"]),
        ),
    )
