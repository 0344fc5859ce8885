"""Noise → codes: one loop, and many short samplers, chosen by name. Importing this does
not import torch."""

from . import samplers as samplers  # registers every one
from .base import SAMPLERS, MaskSampler, Sampler, register, setting

__all__ = ["SAMPLERS", "MaskSampler", "Sampler", "register", "setting"]
