"""Requests to draw from settings by name, as commands and files give them."""

from __future__ import annotations

from typing import Any

from d3pm_image.config import SamplingConfig
from d3pm_image.sampling.choice import SHARED, make_sampler
from d3pm_image.sampling.request import Request


def asked(sampler: str = "confidence", steps: int = 16, callback: Any = None, **settings: Any) -> Request:
    """A request with the named sampler; its own settings and those that all samplers share by their names."""
    shared = {name: value for name, value in settings.items() if name in SHARED}
    own = {name: value for name, value in settings.items() if name not in SHARED}
    return Request(make_sampler(sampler, **own), SamplingConfig(steps=steps, **shared), callback=callback)
