"""One sampler per file. Every module of this folder is imported and registers its classes, so a new sampler
needs only a new file."""

from __future__ import annotations

import importlib
import pkgutil

from ..base import SAMPLERS, Sampler

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)

__all__ = ["SAMPLERS", "Sampler"]
