"""What a search leaves: its measurements, and hashes of a folder."""

from __future__ import annotations

import hashlib
import json


def hashes(folder) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def measured(path) -> list[dict]:
    """Entries of tune.json that are samplers', without the real images."""
    return [entry for entry in json.loads(path.read_text())["entries"] if entry["settings"]]
