"""Typed configuration: one frozen dataclass per subject, no torch here.

Every field has a default that passes its own validation, a meaning (shown by ``--help``) and a reader in the
package. Impossible values raise :class:`ConfigError` at construction, before anything is allocated or
written.
"""

from ..errors import ConfigError, check, closest_match, finite
from .data import MAX_SIDE, DataConfig, Tile, check_tile, size_pair, wraps
from .diffusion import DenoiserConfig, DiffusionLossConfig, ProcessConfig
from .sampling import SamplingConfig
from .tokenizer import (
    TokenizerConfig,
    migrated,
    palette_source,
    pixel_codes,
    pixel_levels,
    trains_nothing,
)
from .tokenizer_loss import AdversarialConfig, TokenizerLossConfig
from .training import DiffusionRun, TokenizerRun, TrainConfig, is_stage_two

__all__ = [
    "MAX_SIDE",
    "AdversarialConfig",
    "ConfigError",
    "DataConfig",
    "DenoiserConfig",
    "DiffusionLossConfig",
    "DiffusionRun",
    "ProcessConfig",
    "SamplingConfig",
    "Tile",
    "TokenizerConfig",
    "TokenizerLossConfig",
    "TokenizerRun",
    "TrainConfig",
    "check",
    "check_tile",
    "closest_match",
    "finite",
    "is_stage_two",
    "migrated",
    "palette_source",
    "pixel_codes",
    "pixel_levels",
    "size_pair",
    "trains_nothing",
    "wraps",
]
