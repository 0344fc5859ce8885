"""Metadata besides settings: weights, input images (by name and content, never by path), masked pixels."""

from __future__ import annotations

import base64
import binascii
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from .. import __version__
from ..config import ConfigError, check
from ..hub import shipped
from ..image_io import opened
from ..local_notes import note_model, noted_model
from ..storage import sha256, tensors_sha256


class HasWeights(Protocol):
    """An object with weights by name, such as an nn.Module."""

    def state_dict(self) -> dict[str, Any]:
        """All weights by name."""


def origin(tokenizer: HasWeights, denoiser: HasWeights) -> dict[str, str]:
    """The program's version and a hash of the weights of both networks."""
    return {"version": __version__, "weights_sha256": weights_sha256(tokenizer, denoiser)}


def made_by(model: str | Path, tokenizer: HasWeights, denoiser: HasWeights) -> dict[str, str]:
    """A PNG's metadata of its model: name, version and weights. Its path is recorded on this machine only."""
    found = origin(tokenizer, denoiser)
    note_model(model, found["weights_sha256"])
    return {"model": model_name(model), **found}


def recorded_model(metadata: dict[str, Any]) -> str | None:
    """The model that a PNG names, if it is on this machine: under that name, else at the path of its last use
    here."""
    name = metadata.get("model")
    if isinstance(name, str) and (name in shipped() or os.path.isdir(os.path.expanduser(name))):
        return name
    place = noted_model(str(metadata.get("weights_sha256", "")))
    return None if place is None else str(place)


def weights_sha256(*networks: HasWeights) -> str:
    """A hash of names, shapes and values of all weights, the same on every device and in every folder."""
    return tensors_sha256(*(network.state_dict() for network in networks), form="{name} {dtype} {shape}\n")


def model_name(model: str | Path) -> str:
    """The name of a model in a PNG: a shipped name, a hub id or a relative path as it is; of an absolute
    path, which would reveal folders of the user, the part below the working folder, or else its last name
    (the last two of RUN/model)."""
    path = Path(model).expanduser()
    if not path.is_absolute():
        return str(model)
    with suppress(ValueError, OSError):  # elsewhere, or a missing working folder
        below = path.relative_to(Path.cwd())
        return str(below) if below.parts else "."
    return "/".join(path.parts[-2:] if path.name == "model" else path.parts[-1:])


def image_record(path: Path, field: str = "image", name: str = "") -> dict[str, str]:
    """Name and content of an input image, as ``field`` and ``field_sha256``. A path would reveal folders of
    the user.

    Args:
        name: The user's name of the file, if it differs from the file's own.
    """
    return {field: name or path.name, f"{field}_sha256": sha256(path)}


def edit_record(
    command: str,
    options: dict[str, Any],
    sampler: dict[str, Any],
    made: dict[str, str],
    image: Path,
    mask: np.ndarray | None = None,
) -> dict[str, Any]:
    """A PNG's metadata of an edit: how it was made, without paths of images.

    Args:
        options: Of the command.
        sampler: Settings of the sampler by name, see :meth:`~d3pm_image.sampling.request.Request.values`.
        made: By which model, see :func:`made_by`.
        image: File that was edited.
        mask: (h, w) bool, the pixels to repaint, if an image gave them.
    """
    went_in = image_record(image)
    if mask is not None:
        went_in["mask"] = mask_text(mask)
    return {"command": command, **options, **sampler, **made, **went_in}


def mask_text(hidden: np.ndarray) -> str:
    """Pixels to repaint, (h, w) bool, as text: a PNG of one bit per pixel in base 64."""
    file = io.BytesIO()
    Image.fromarray(hidden).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")


def mask_of(text: Any, size: tuple[int, int] | None = None) -> Image.Image:
    """The mask of such a text, mode 1.

    Args:
        size: (width, height) that it must have; None for any.

    Raises:
        ConfigError: no such text, or a mask of another size, which is not decoded.
    """
    try:
        with opened(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            hint = f"the mask that this image carries must have the image's size {size}"
            check(size in (None, image.size), "mask", image.size, hint)
            return image.convert("1")
    except ConfigError:
        raise
    except (OSError, TypeError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
        raise ConfigError(
            "mask",
            str(text)[:40],
            f"the mask that this image carries cannot be read ({type(error).__name__})",
        ) from error
