"""Names in files of earlier versions, and their present names; all readers of such files use this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMER = {
    # log.jsonl
    "verdict": "adversarial",
    "verdict_weight": "adversarial_weight",
    "val_judged": "val_reconstruction_loss",
    "val_raw_judged": "val_raw_reconstruction_loss",
    # checkpoints
    "rival": "discriminator",
    "rival_optimizer": "discriminator_optimizer",
    # results of evaluations
    "judged": "reconstruction_loss",
    "within_class_spread": "intra_class_distance",
    "judge": "classifier",
    "judge_accuracy_on_held_out": "classifier_accuracy_on_held_out",
}


def present_names(values: Any) -> Any:
    """The same values, with today's names of the keys of all dictionaries in them."""
    if isinstance(values, Mapping):
        return {FORMER.get(key, key): present_names(value) for key, value in values.items()}
    return [present_names(value) for value in values] if isinstance(values, list) else values


def metadata_of(config: Mapping[str, Any]) -> Any:
    """Metadata of the training in the config.json of a model folder, under ``facts`` in earlier versions."""
    return present_names(config.get("metadata", config.get("facts", {})))
