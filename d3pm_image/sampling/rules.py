"""Step rules by the names that users choose them by."""

from __future__ import annotations

from collections.abc import Callable

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

RULES: dict[str, Callable[[SamplerConfig], Rule]] = {
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


def make_rule(config: SamplerConfig) -> Rule:
    """The step rule that a configuration names."""
    return RULES[config.sampler](config)
