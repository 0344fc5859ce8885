"""Locations of models: a folder, a model that came with the package, or a repository of the Hugging Face hub.

``models/NAME`` inside this package holds the shipped ones: half precision, safetensors and JSON, with a model
card. Nothing is downloaded for these; of a hub model only weights, JSON and the card are.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from .config import ConfigError, check, closest_match

SHIPPED = Path(__file__).resolve().parent / "models"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
WANTED = ["*.json", "*.safetensors", "README.md", "samples.jpg"]


def shipped() -> list[str]:
    """Names of the models that came with the package."""
    return sorted(p.parent.name for p in SHIPPED.glob("*/config.json"))


def locate(model: str | PathLike[str], what: str = "model") -> Path:
    """The folder of a model.

    Args:
        model: A folder; else the name of a shipped model; else a hub id, OWNER/NAME or OWNER/NAME@REVISION,
            which is downloaded once and then kept by the hub's own cache (``HF_HOME``; offline with
            ``HF_HUB_OFFLINE=1``).
        what: Name of the setting, for messages.

    Raises:
        ConfigError: none of these, or the hub cannot be reached.
    """
    known = (
        f"name a trained model, the run that made it, a shipped model ({', '.join(shipped()) or 'none here'})"
        " or a hub id (OWNER/NAME)"
    )
    check(isinstance(model, str | PathLike), what, model, known)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    name = str(model)
    if name in shipped():
        return SHIPPED / name
    # "runs/missing" looks like a hub id: only where its first part is not a folder here is it taken for one
    hub = HUB_ID.fullmatch(name) is not None and not folder.parent.is_dir()
    check(hub, what, name, f"no such folder{closest_match(name, shipped())}; {known}")
    return download(name, what, known)


def download(name: str, what: str, known: str) -> Path:
    """A hub model's folder, downloaded if needed.

    Raises:
        ConfigError: no such repository, or no connection.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=WANTED))
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        OSError,
        ValueError,
    ) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            what, name, f"no such folder, and the hub did not give it ({reason}); {known}"
        ) from error


def push(folder: str | PathLike[str], repository: str, private: bool = False) -> str:
    """Upload a model folder as a hub repository, which is created if needed; needs a login (``hf auth login``
    or ``HF_TOKEN``). Returns its address.

    Raises:
        ConfigError: the hub refused.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        client = HfApi()
        address = client.create_repo(repository, private=private, exist_ok=True)
        client.upload_folder(repo_id=address.repo_id, folder_path=str(folder), allow_patterns=WANTED)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            "push", repository, f"the hub refused ({reason}); log in with 'hf auth login' and check the name"
        ) from error
    return str(address)
