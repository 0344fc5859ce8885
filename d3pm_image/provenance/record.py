"""What is recorded besides settings: which weights, which pictures went in (by name and content, never by path), which pixels were masked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from .. import __version__
from ..config import ConfigError, need
from ..hub import shipped
from ..image_io import opened
from ..local_notes import note_model, noted_model
from ..storage import sha256


def origin(tokenizer: nn.Module, denoiser: nn.Module) -> dict[str, str]:
    """The program's version and a hash of the weights of both networks, wherever they lie."""
    return {"version": __version__, "weights_sha256": weights_sha256(tokenizer, denoiser)}


def made_by(model: str | Path, tokenizer: nn.Module, denoiser: nn.Module) -> dict[str, str]:
    """What a PNG says of its model: its name, version and weights. Where it lies is noted on this machine alone."""
    found = origin(tokenizer, denoiser)
    note_model(model, found["weights_sha256"])
    return {"model": model_name(model), **found}


def recorded_model(facts: dict[str, Any]) -> Any:
    """The model that a PNG names: where it lies, if the name does not lead there and it was used on this machine before."""
    name = facts.get("model")
    if isinstance(name, str) and (name in shipped() or Path(name).expanduser().is_dir()):
        return name
    place = noted_model(str(facts.get("weights_sha256", "")))
    return name if place is None else str(place)


def weights_sha256(*networks: nn.Module) -> str:
    """A hash of names, shapes and values of all weights, the same on every device and in every folder."""
    digest = hashlib.sha256()
    for network in networks:
        for name, value in sorted(network.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_name(model: str | Path) -> str:
    """What a PNG calls its model: a shipped name, a hub id or a relative path as it is; of an absolute path, which tells of its owner's
    folders, the part below the working folder, or else its last name (the last two of RUN/model)."""
    path = Path(model).expanduser()
    if not path.is_absolute():
        return str(model)
    with suppress(ValueError, OSError):  # elsewhere, or a working folder that is gone
        below = path.relative_to(Path.cwd())
        return str(below) if below.parts else "."
    return "/".join(path.parts[-2:] if path.name == "model" else path.parts[-1:])


def picture_record(path: Path, field: str = "image", name: str = "") -> dict[str, str]:
    """Name and content of a picture that goes in, as ``field`` and ``field_sha256``. A path would tell of its owner's folders.

    Args:
        name: Where the file's own name is not what its owner calls it.
    """
    return {field: name or path.name, f"{field}_sha256": sha256(path)}


def mask_text(hidden: np.ndarray) -> str:
    """Pixels to repaint, (h, w) bool, as text: a PNG of one bit a pixel in base 64."""
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
            need(size in (None, image.size), "mask", image.size, f"the mask that this picture carries must have the image's size {size}")
            return image.convert("1")
    except ConfigError:
        raise
    except (OSError, TypeError, ValueError, binascii.Error, Image.DecompressionBombError) as error:
        raise ConfigError("mask", str(text)[:40], f"the mask that this picture carries cannot be read ({type(error).__name__})") from error
