"""Choice of device and precision."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, get_args

from .errors import check

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .types import Denoiser, Grid

Precision = Literal["float32", "bf16"]
"""Precision of a network."""
PrecisionOption = Literal["auto", "float32", "bf16"]
MixedPrecision = Literal["auto", "no", "bf16", "fp16"]
CHOICE = "D3PM_IMAGE_PRECISION"
"""Environment variable that sets the meaning of ``auto``: float32 or bf16."""


def pick_device(name: str) -> str:
    """A device by name; ``auto`` is a CUDA GPU if there is one (one for each of several processes), else the
    CPU. ``mps``, an Apple GPU, must be named, because it was never tried on hardware. Raises ConfigError if
    there is no such device."""
    import torch

    if name == "auto" and not torch.cuda.is_available():
        return "cpu"
    local, together = (os.environ.get(v, "") for v in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if name in ("auto", "cuda") and torch.cuda.is_available():
        if not (local.isdecimal() and together.isdecimal() and int(together) > 1):
            return "cuda"
        count = torch.cuda.device_count()
        hint = f"{together} processes on this machine and {count} GPUs: start one for each, or use cpu"
        check(int(together) <= count, "device", name, hint)
        return f"cuda:{int(local)}"
    if name == "mps":
        hint = "no Apple GPU that torch can use here; use auto or cpu"
        check(torch.backends.mps.is_available(), "device", name, hint)
        return name
    hint = "no such device here; use auto or cpu"
    check(name == "cpu" or (name.startswith("cuda") and torch.cuda.is_available()), "device", name, hint)
    return name


def has_float64(device: str | torch.device) -> bool:
    """Whether a device computes in float64; Apple GPUs do not."""
    import torch

    return torch.device(device).type != "mps"


def exact_device(device: str | torch.device) -> torch.device:
    """Where float64 is computed for a network on ``device``: there, or on the CPU if it has no float64."""
    import torch

    return torch.device(device if has_float64(device) else "cpu")


def asked_from_exact(denoiser: Denoiser, device: torch.device) -> Denoiser:
    """A denoiser on ``device`` that takes and returns tensors on :func:`exact_device`; κ is sent in float32.
    If both are the same device, the denoiser itself."""
    if has_float64(device):
        return denoiser

    def there(x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid, where: Tensor | None = None) -> Tensor:
        asked = None if where is None else where.to(device)
        logits = denoiser(x_t.to(device), kappa.float().to(device), labels.to(device), grid, asked)
        return logits.to(x_t.device)

    return there


def bf16_is_fast(device: str | torch.device) -> bool:
    """Whether a device multiplies in bfloat16 at least as fast as in float32.

    A processor does with avx512_bf16, AMX or ARM's bf16 instructions. One without them emulates bfloat16 and
    is several times slower (docs/machines.md has measurements).
    """
    import torch

    place = torch.device(device)
    if place.type == "cuda":
        with torch.cuda.device(place):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if place.type != "cpu":  # others were never measured
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        able = dict(torch.cpu.get_capabilities())
    else:  # an older torch
        able = {
            "avx512_bf16": torch.cpu._is_avx512_bf16_supported(),
            "amx_bf16": torch.cpu._is_amx_tile_supported(),
        }
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def check_precision(name: str, field: str = "precision") -> None:
    """Raises ConfigError unless the name is auto, float32 or bf16."""
    names = get_args(PrecisionOption)
    check(name in names, field, name, f"use one of {', '.join(names)}")


def pick_precision(name: str, device: str | torch.device) -> Precision:
    """A precision by name, float32 or bf16; ``auto`` is bf16 where the device is at least as fast with it,
    unless the environment variable D3PM_IMAGE_PRECISION decides. Raises ConfigError for another name."""
    check_precision(name)
    if name != "auto":
        return "bf16" if name == "bf16" else "float32"
    chosen = os.environ.get(CHOICE, "")
    if chosen:
        check_precision(chosen, CHOICE)
    fast = chosen == "bf16" if chosen not in ("", "auto") else bf16_is_fast(device)
    return "bf16" if fast else "float32"


def pick_mixed_precision(name: MixedPrecision) -> Literal["no", "bf16", "fp16"]:
    """``train.mixed_precision`` by name: no, bf16 or fp16; ``auto`` is the choice of :func:`pick_precision`
    for the device of the training."""
    if name != "auto":
        return name
    return "bf16" if pick_precision("auto", pick_device("auto")) == "bf16" else "no"


def casts_kept(device: torch.device) -> AbstractContextManager[object]:
    """A context in which weights that autocast casts are cast once and not in every call of a network: the
    outermost autocast owns the casts, and this one is disabled itself. Weights must not change inside. An
    active autocast of the caller already does this, and stays on."""
    import torch

    if device.type not in ("cpu", "cuda") or torch.is_autocast_enabled(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
