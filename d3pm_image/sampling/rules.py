"""Step rules by the names that users choose them by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..config import SamplerConfig
from .ancestral import Ancestral
from .confidence import Confidence
from .corrector import PredictorCorrector
from .ctmc import CTMC
from .first_hitting import FirstHitting
from .halton import Halton
from .purity import Purity
from .remask import Remask
from .renoise import Renoise
from .rule import Rule

# of a resolved configuration: what a rule reads of it is not None
RULES: dict[str, Callable[[Any], Rule]] = {
    "confidence": lambda c: Confidence(c.gumbel, c.reveal),
    "entropy": lambda c: Confidence(c.gumbel, c.reveal, "entropy"),
    "margin": lambda c: Confidence(c.gumbel, c.reveal, "margin"),
    "halton": lambda c: Halton(c.reveal, c.roll),
    "ancestral": lambda c: Ancestral(),
    "purity": lambda c: Purity(c.gumbel),
    "first_hitting": lambda c: FirstHitting(),
    "ctmc": lambda c: CTMC(c.eta, c.ctmc_form),
    "renoise": lambda c: Renoise(c.eta),
    # by confidence reads no η: configurations that differ in it alone are the same rule
    "remask": lambda c: Remask(0.0 if c.remask_strategy == "confidence" else c.eta, c.remask_strategy),
    "predictor_corrector": lambda c: PredictorCorrector(c.eta),
}


class _Seen:
    """A configuration that remembers which of its settings were asked for."""

    def __init__(self, config: SamplerConfig):
        self.config = config
        self.names: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self.config, name)


def settings_read(config: SamplerConfig) -> set[str]:
    """Names of the settings that the step rule of a configuration takes from it."""
    seen = _Seen(config)
    RULES[config.sampler](seen)
    return seen.names


def settings_of_rules() -> set[str]:
    """Names of the settings that are some step rule's own; every sampler reads the others."""
    return set().union(*(settings_read(SamplerConfig(sampler=name)) for name in RULES))


def make_rule(config: SamplerConfig) -> Rule:
    """The step rule that a configuration names; settings that are left out are the rule's own defaults."""
    return RULES[config.sampler](config.resolved())
