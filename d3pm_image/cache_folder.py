"""Folders of caches and data sets on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from .config import ConfigError, check


def default_root() -> Path:
    """Folder of torchvision sets: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image, then datasets."""
    return cache_root() / "datasets"


def cache_root() -> Path:
    """Folder of everything that is cached: D3PM_IMAGE_CACHE or ~/.cache/d3pm_image.

    Raises:
        ConfigError: no such variable, and no home folder, or one that cannot be written (docker --user
            12345).
    """
    if named := os.environ.get("D3PM_IMAGE_CACHE"):
        return Path(named)
    hint = "set D3PM_IMAGE_CACHE to a folder of yours (for codes also --cache)"
    try:
        place = Path.home() / ".cache" / "d3pm_image"
    except RuntimeError:
        raise ConfigError("cache", "", f"no home folder is known to keep it in; {hint}") from None
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    check(there == place or os.access(there, os.W_OK), "cache", str(place), f"cannot be made; {hint}")
    return place
