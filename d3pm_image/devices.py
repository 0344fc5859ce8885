"""Which device a model runs on."""

from __future__ import annotations

from .errors import need


def pick_device(name: str) -> str:
    """A device by name; ``auto`` is a GPU where there is one. Raises ConfigError where the device is not
    there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    hint = "no such device here; use auto or cpu"
    need(name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()), "device", name, hint)
    return name
