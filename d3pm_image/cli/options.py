"""Options that several commands share: the sampler, and what it runs on."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..config import SamplingConfig, check
from ..config.running import OutputOptions, RunOptions
from ..config.worded import worded
from ..printable import printable
from ..sampling import SAMPLERS

# no TYPE_CHECKING block: jsonargparse would import its modules, torch included, to show help


def _optional_fields() -> list[tuple[str, Any, Any]]:
    """The sampler's name, the settings of every sampler and those that all share; each may be left out (None:
    the model's own value, which a setting of some samplers alone need not have)."""
    every = {"sampler": Literal[tuple(SAMPLERS)], **typing.get_type_hints(SamplingConfig)}
    said = dict.fromkeys(every, "the model's own")
    hints = every | SAMPLERS.types()
    return [
        (name, typing.Optional[type_], worded(None, said.get(name, ""), of_model=True))  # noqa: UP045
        for name, type_ in hints.items()
    ]


def _words() -> str:
    """Help text of these: for a sampler's own setting, the text of every class that has it, with its
    default."""
    lines = [
        f"        sampler: How codes are drawn: {', '.join(SAMPLERS)}; docs/samplers.md says which to use"
        " when."
    ]
    lines += (SamplingConfig.__doc__ or "").split("Args:")[1].strip("\n").splitlines()
    lines += [f"        {name}: {SAMPLERS.explain(name)}" for name in SAMPLERS.types()]
    return "\n".join(lines)


SamplerChanges = dataclasses.make_dataclass("SamplerChanges", _optional_fields(), frozen=True, kw_only=True)
SamplerChanges.__doc__ = (
    "Settings of the sampler that differ from the model's own.\n\n    Args:\n" + _words() + "\n    "
)


@dataclass(frozen=True, kw_only=True)
class SamplerOptions(RunOptions, SamplerChanges):  # type: ignore[valid-type, misc]
    """The sampler's settings and what to run on."""

    def changes(self) -> dict[str, Any]:
        """The settings of the sampler that were given, by name."""
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(SamplerChanges)}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class WatchedOptions(SamplerOptions, OutputOptions):
    """The sampler's settings, and where to write the animation of a decode.

    Args:
        trajectory: Animation of the decode of the first 8 images, FILE.gif or FILE.webp; FILE-sheet.png
            beside it shows the steps of the first one and the order in which its cells were revealed. Empty
            for none.
        trajectory_ms: Milliseconds per frame of the animation; the last one is held for longer.
    """

    trajectory: str = ""
    trajectory_ms: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        known = Path(self.trajectory).suffix.lower() in (".gif", ".webp")
        check(known or not self.trajectory, "trajectory", self.trajectory, "use an ending of .gif or .webp")
        hint = "give 20 to 60000 milliseconds per frame"
        check(20 <= self.trajectory_ms <= 60_000, "trajectory_ms", self.trajectory_ms, hint)

    def recorder(self, outputs: Sequence[Path], inputs: Sequence[Path] = ()) -> Any:
        """A callback that keeps the first images, or None where no trajectory is wanted.

        Raises:
            ConfigError: a format that cannot be written, or a file that is also an output or an input.
        """
        if not self.trajectory:
            return None
        from ..outputs import folder_to_write
        from ..visualization import Recorder, check_animation, sheet_path

        path = Path(self.trajectory)
        check_animation(path)
        folder_to_write(path.parent, "trajectory")
        for names, others in (("out", outputs), ("an image that is read", inputs)):
            own = {path.resolve(), sheet_path(path).resolve()}
            hint = f"would overwrite {names}"
            check(own.isdisjoint(other.resolve() for other in others), "trajectory", self.trajectory, hint)
        return Recorder()

    def show(self, recorder: Any, pipe: Any, title: str, metadata: dict[str, Any]) -> None:
        """Write what a recorder kept, if there is one, and print the path."""
        if recorder is None:
            return
        from ..outputs import new_files
        from ..visualization import save_trajectory, sheet_path

        how = (
            pipe.grid,
            pipe.tokenizer_decode,
            self.trajectory_ms,
            printable(title),
            metadata | {"shows": "trajectory"},
        )
        with new_files(Path(self.trajectory), self.overwrite, lambda path: [path, sheet_path(path)]) as files:
            save_trajectory(recorder.trajectory(), files.draft, *how)
        print(f"trajectory: {' and '.join(map(printable, files.paths))}")


def say(command: str, notes: Sequence[str]) -> None:
    """Notes on stderr, one line each."""
    for note in notes:
        print(f"d3pm-image {command}: note: {printable(note, 1000)}", file=sys.stderr)


def left_to_the_first(command: str) -> bool:
    """Whether this process is not the first of several, for one image that the first draws; it prints so
    then."""
    from ..training.launch import place_among_processes

    rank, processes = place_among_processes()
    if rank:
        say(command, [f"process {rank} of {processes} has nothing to do: the first one draws the image"])
    return rank > 0
