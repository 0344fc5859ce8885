"""Settings of a run as YAML that ``--config`` reads back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..storage import write_text


def save_resolved(value: Any, path: Path) -> None:
    """Write the resolved configuration of a run as YAML that ``--config`` reads back."""

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            return {k: plain(v) for k, v in item.items()}
        return [plain(v) for v in item] if isinstance(item, (list, tuple)) else item

    class Quoted(yaml.SafeDumper):
        """Quotes every text: YAML readers disagree on whether words such as 1e3 and no are texts."""

    Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.dump(plain(dataclasses.asdict(value)), Dumper=Quoted, sort_keys=False))


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name; tuples as JSON brings them back."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
        found |= {key: list(item) if isinstance(item, tuple) else item for key, item in inner.items()}
    return found
