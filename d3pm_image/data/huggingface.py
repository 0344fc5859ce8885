"""Data sets of Hugging Face as a source by name: a folder of parquet, arrow or image files, one that
``save_to_disk`` wrote, or a data set of the hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import ConfigError, DataConfig
from .objects import GivenImages, given_images

SAVED = ("dataset_dict.json", "state.json")
"""Files of a folder that ``save_to_disk`` wrote."""


def hugging_face(config: DataConfig) -> GivenImages:
    """The data set that ``data.name`` gives: its split ``train`` and, where it has one, ``validation`` or
    ``test``.

    A folder is read without a connection, and so is a data set of the hub that its library has cached; it is
    downloaded if ``data.download`` is set.

    Raises:
        ConfigError: the package is missing, or there is no such data set.
    """
    try:
        import datasets
    except ImportError:
        raise ConfigError(
            "data.source", "huggingface", "needs the package datasets; pip install 'd3pm-image[huggingface]'"
        ) from None
    place = Path(config.name).expanduser()
    local = place.is_dir()
    try:
        with contextlib.nullcontext() if config.download and not local else offline(datasets):
            if local and any((place / name).is_file() for name in SAVED):
                found = datasets.load_from_disk(str(place))
            else:
                found = datasets.load_dataset(str(place) if local else config.name)
    except (ConnectionError, OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        hint = "name a folder of parquet or arrow files, or OWNER/NAME of the hub with --data.download true"
        raise ConfigError(
            "data.name", config.name, f"cannot be read ({' '.join(str(error).split())[:200]}); {hint}"
        ) from error
    return given_images(found, field="data.name")


@contextlib.contextmanager
def offline(datasets: Any) -> Iterator[None]:
    """No access to the hub for the length of a block."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
