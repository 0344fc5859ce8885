"""Metadata with which others can reproduce the measures of an evaluation, and the comparison of two result
files."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import Any

from ..config import ConfigError, check
from ..documents import Unreadable, read_json
from ..former_names import present_names
from ..printable import dashed, printable

FORMAT, VERSION = "d3pm-image-evaluation", 1
# what two evaluations of samples must share for their measures to compare
SHARED = (
    "held_out_images", "samples.features.network", "samples.features.sha256", "samples.features.preparation",
    "samples.reference.set",
    "samples.reference.sha256", "samples.num_samples",
)  # fmt: skip
SHOWN = (
    "tokenizer",
    "likelihood",
    "samples.label_accuracy",
    "samples.fidelity",
    "samples.calls_per_image",
    "samples.seconds",
    "inpainting.held_out",
    "inpainting.reconstructed",
    "inpainting.regions",
)


def command_line(args: Any) -> str:
    """The command that gives an options object, whether its values came from a file or defaults: the model,
    then all that is not the default."""
    words = ["d3pm-image", "evaluate", args.model]
    own = {
        f.name: getattr(args, f.name) for f in dataclasses.fields(args) if getattr(args, f.name) != f.default
    }
    for name, value in {**args.changes(), **own}.items():
        if name not in ("model", "overwrite") and not isinstance(value, dict):
            words += [
                f"--{dashed(name)}",
                str(value).lower() if isinstance(value, bool) else str(value),
            ]
    return shlex.join(words)


def read_result(name: str) -> dict[str, Any]:
    """A result file of ``evaluate --out``.

    Raises:
        ConfigError: it is not there, or something else.
    """
    try:
        raw = read_json(Path(name))
    except Unreadable as error:
        raise ConfigError(
            "compare", name, f"cannot be read as a result of evaluate ({error}); name a JSON file"
        ) from error
    right = isinstance(raw, dict) and raw.get("format") == FORMAT and raw.get("version") == VERSION
    hint = (
        f"is not a result of this version of evaluate (format {FORMAT}, version {VERSION}); run evaluate"
        " again with --out"
    )
    check(right, "compare", name, hint)
    return present_names(raw)


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries under dotted names."""
    if not isinstance(values, dict):
        return {prefix.rstrip("."): values}
    return {
        name: value for key, inner in values.items() for name, value in flat(inner, f"{prefix}{key}.").items()
    }


def compare(first: str, second: str) -> str:
    """Two evaluations side by side: differences in how they were made, and every measure that both have.

    Raises:
        ConfigError: files of another kind, or evaluations that do not compare: other data, features,
            reference or number of samples.
    """
    both = [flat(read_result(name)) for name in (first, second)]
    for name in ("data", *SHARED):
        a, b = (values.get(name) for values in both)
        hint = (
            f"{first} has {a!r} and {second} {b!r}: figures of unlike things; evaluate both in the same way"
        )
        check(a == b, "compare", name, hint)
    lines = [f"{'':44} {printable(Path(first).name):>24} {printable(Path(second).name):>24}"]
    shown = [
        n for n in both[0] if n.startswith(SHOWN) and n in both[1] and isinstance(both[0][n], (int, float))
    ]
    settings = [n for n in both[0] if not n.startswith(SHOWN) and n in both[1] and both[0][n] != both[1][n]]
    for name in [*settings, *(n for n in shown if not n.startswith("samples.fidelity_of_real"))]:
        a, b = (values[name] for values in both)
        numbers = (
            isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and a
        )
        change = f"{(b - a) / abs(a):+8.1%}" if numbers and name in shown else ""
        lines.append(
            f"{printable(name.removeprefix('samples.')):44} "
            f"{shortened(a):>24} {shortened(b):>24} {change}".rstrip()
        )
    return "\n".join(lines)


def shortened(value: Any) -> str:
    """A value as text of at most 24 characters."""
    return printable(f"{value:g}" if isinstance(value, float) else value, 24)
