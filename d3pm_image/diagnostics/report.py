"""All findings of a folder: a run, images or shards."""

from __future__ import annotations

from pathlib import Path

from ..config import check
from ..config.data import implied_source
from .finding import Finding
from .images import examine_images
from .run import examine_run, is_run


def examine(name: str, limit: int = 5000) -> tuple[str, list[Finding]]:
    """Problems of a folder.

    Args:
        name: Folder of a run, of images or of shards; or a pattern of shards.
        limit: Images of a folder to read, spread over it; 0 reads all.

    Returns:
        ``run`` or ``images``, and the findings.

    Raises:
        ConfigError: no such folder, or one that holds neither a run nor images.
    """
    folder = Path(name).expanduser()
    shards = implied_source(name) == "shards"
    hint = "no such folder; name a run's folder, a folder of images or shards"
    check(shards or folder.is_dir(), "folder", name, hint)
    model = (folder / "model.safetensors").is_file() or (folder / "denoiser").is_dir()
    check(not model or is_run(folder), "folder", name, "is a model; name the run that trained it")
    if is_run(folder):
        return "run", examine_run(folder)
    if (folder / "chosen.json").is_file() and is_run(folder / "tokenizer"):  # d3pm-image train, in stage one
        return "run", examine_run(folder / "tokenizer")
    return "images", examine_images(str(folder), limit)
