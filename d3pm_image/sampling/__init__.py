"""Noise → codes: one loop, and many short samplers that a user chooses between by name. Importing this does not import torch."""

from .base import SAMPLERS, MaskSampler, Sampler, register, setting
from .samplers import *  # noqa: F403 (registers every sampler)

__all__ = ["SAMPLERS", "MaskSampler", "Sampler", "register", "setting"]
