"""One quantizer per file. Every module of this folder is imported and registers its class, so a new quantizer
needs only a new file."""

from __future__ import annotations

import importlib
import pkgutil

from .base import MAX_CODES, QUANTIZERS, Codebook, Quantizer, register
from .bsq import BSQ
from .cosine import Cosine
from .ema import EMA
from .fsq import FSQ
from .lfq import LFQ
from .simvq import SimVQ

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f".{_module.name}", __name__)

__all__ = [
    "BSQ",
    "EMA",
    "FSQ",
    "LFQ",
    "MAX_CODES",
    "QUANTIZERS",
    "Codebook",
    "Cosine",
    "Quantizer",
    "SimVQ",
    "register",
]
