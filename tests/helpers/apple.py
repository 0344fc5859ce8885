"""A stand-in for an Apple GPU on a machine without one.

Its tensors say that they are on ``mps`` and are computed on the CPU. It refuses what the hardware refuses: a
float64 tensor on it, whether made there or brought there, an operation of its tensors with those of the CPU
(numbers without dimensions, and indices, are taken, as from any device), and a generator of the CPU. What it
does not show is whether Apple's kernels exist and what they round to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("mps", 0)
aten = torch.ops.aten
MOVES = (aten._to_copy.default, aten.copy_.default)
"""May have tensors of two devices."""
INDEXED = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
"""Take indices from the CPU."""
INSIDE = (torch.Tensor.tolist, torch.nn.functional.scaled_dot_product_attention)
"""Look for a backend before they dispatch: done on what the tensors hold."""
METHODS = (type(torch.Tensor.__getitem__), type(torch.Tensor.min))
NOT_LINKED = "not linked with support for mps"
"""What torch says, before anything is done, where a method of tensors (brackets, ``~``, ``min``) sets the device:
it is done on what they hold too."""


class OnApple(torch.Tensor):
    """A tensor that lies on the stand-in; ``inner`` is what it holds."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> OnApple:
        if inner.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64"
            )
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"OnApple({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def held(value: Any) -> Any:
    return value.inner if isinstance(value, OnApple) else value


def on_apple(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation of tensors of either device, with the result where the hardware would have it."""
    given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    here = any(isinstance(x, OnApple) for x in given)
    if "device" in kwargs and kwargs["device"] is not None:
        here = on_apple(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")} if here else kwargs
    if here and kwargs.get("generator") is not None:
        raise RuntimeError("Expected a 'mps' device type for generator but found 'cpu'")
    if func not in MOVES:
        refuse_mixtures(func, args, given)
    inner = tree_map(held, (args, kwargs))
    found = func(*inner[0], **inner[1])
    if func._schema.is_mutable:  # in place: the tensor that was given
        return args[0]
    return tree_map(lambda x: OnApple(x) if isinstance(x, torch.Tensor) else x, found) if here else found


def refuse_mixtures(func: Any, args: Any, given: list[torch.Tensor]) -> None:
    if func in INDEXED and isinstance(args[0], OnApple):
        given = [args[0], *args[2:3]] if len(args) > 2 else [args[0]]
    kinds = {
        isinstance(x, OnApple)
        for x in given
        if isinstance(x, torch.Tensor) and (x.ndim or isinstance(x, OnApple))
    }
    if len(kinds) > 1:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found mps:0 and cpu! ({func})"
        )


class Operations(TorchDispatchMode):
    """Sees what is made on the stand-in or brought to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if on_apple(kwargs.get("device")) or any(issubclass(t, OnApple) for t in types):
            return computed(func, args, kwargs)
        return func(*args, **kwargs)


class Names(TorchFunctionMode):
    """What no dispatch sees: ``mps`` is its first device, ``torch.tensor`` brings numbers to it, and what asks
    for its backend."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map(numbered, (args, kwargs or {}))
        if func in (torch.tensor, torch.as_tensor) and on_apple(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func in INSIDE and isinstance(args[0], OnApple):
            return inside(func, args, kwargs)
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if NOT_LINKED not in str(error) or type(func) not in METHODS:
                raise
            return inside(func, args, kwargs)


def inside(func: Any, args: Any, kwargs: Any) -> Any:
    """A function of tensors on the stand-in, done on what they hold."""
    given = [x for x in args if isinstance(x, torch.Tensor)]
    refuse_mixtures(func, args, given[:1] if func is torch.Tensor.__getitem__ else given)
    found = func(*tree_map(held, args), **tree_map(held, kwargs))
    return OnApple(found) if isinstance(found, torch.Tensor) else found


def numbered(value: Any) -> Any:
    return DEVICE if isinstance(value, (str, torch.device)) and str(value) == "mps" else value


@contextmanager
def apple_machine() -> Iterator[torch.device]:
    """Inside, torch finds an Apple GPU; gives its device."""
    yes, overwrite = cache(lambda: True), torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    mps = torch.backends.mps
    try:
        with (
            patch.object(mps, "is_available", yes),
            patch.object(mps, "is_built", yes),
            Names(),
            Operations(),
        ):
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
